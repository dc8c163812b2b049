"""Serve the Optuna dashboard on loopback: ``python -m autoopt.search.backends.optuna_board PORT``."""

from __future__ import annotations

import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

LOOPBACK = "127.0.0.1"
ADDRESS_VARIABLE = "AUTOOPT_DASHBOARD_STORAGE"
"""Environment variable with the database URL; on a command line other users could read its password."""


class _Server(ThreadingMixIn, WSGIServer):
    """Serves the concurrent requests of a browser."""

    daemon_threads = True


def main(port: int) -> None:
    """Serve the database whose URL is in the environment."""
    import optuna_dashboard

    application = optuna_dashboard.wsgi(os.environ[ADDRESS_VARIABLE])
    make_server(LOOPBACK, port, application, server_class=_Server).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
