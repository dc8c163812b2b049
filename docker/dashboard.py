"""The stack's Optuna dashboard as a WSGI application for gunicorn: it can only be read, under the stack's own names."""

import os

import optuna_dashboard
from read_only_site import LOOPBACK_HOSTS, ReadOnlySite

application = ReadOnlySite(optuna_dashboard.wsgi(os.environ["AUTOOPT_DATABASE"]), hosts=(*LOOPBACK_HOSTS, "dashboard"))
