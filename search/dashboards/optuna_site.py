"""Serve the Optuna dashboard read-only on loopback: ``python -m autoopt.search.dashboards.optuna_site PORT``."""

from __future__ import annotations

import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autoopt.search.backends.optuna_board import dashboard_of
from autoopt.search.dashboards.read_only_site import ReadOnlySite

LOOPBACK = "127.0.0.1"
ADDRESS_VARIABLE = "AUTOOPT_DASHBOARD_STORAGE"
"""Environment variable with the database URL; on a command line other users could read its password."""
TOKEN_VARIABLE = "AUTOOPT_DASHBOARD_TOKEN"  # noqa: S105
"""Environment variable with the token that the address in the browser must hold."""


class _Server(ThreadingMixIn, WSGIServer):
    """Serves the concurrent requests of a browser."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Keeps the addresses of requests, and with them the token, out of the log."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...


def main(port: int) -> None:
    """Serve the database whose URL is in the environment."""
    site = ReadOnlySite(dashboard_of(os.environ[ADDRESS_VARIABLE]), token=os.environ[TOKEN_VARIABLE])
    make_server(LOOPBACK, port, site, server_class=_Server, handler_class=_Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
