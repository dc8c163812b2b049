"""The Optuna dashboard as a process of its own: ``python -m autoopt.search.optuna_board PORT``, on loopback only."""

from __future__ import annotations

import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

from autoopt.search.dashboards import ADDRESS_VARIABLE, LOOPBACK


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several questions at a time, as a browser asks them."""

    daemon_threads = True


def main(port: int) -> None:
    """Serve the database whose address the environment holds."""
    import optuna_dashboard

    application = optuna_dashboard.wsgi(os.environ[ADDRESS_VARIABLE])
    make_server(LOOPBACK, port, application, server_class=_Server).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
