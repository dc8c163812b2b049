#!/usr/bin/env bash
# Makes the two databases and the three roles; PostgreSQL's image runs it once, when its volume is new.
#   optuna   autoopt_rw owns it, dashboard_ro may only read
#   mlflow   mlflow_rw owns it, nobody else may connect
set -euo pipefail

export SECRETS_FOLDER=${AUTOOPT_SECRETS:-/run/secrets}
for name in optuna_password dashboard_password mlflow_password; do
    if [[ ! -s $SECRETS_FOLDER/$name ]]; then
        echo "init-databases: the secret $SECRETS_FOLDER/$name is missing or empty; docker/make-secrets.sh makes it" >&2
        exit 1
    fi
done

# psql reads the passwords itself: on its command line every process of the machine could see them.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
SET password_encryption = 'scram-sha-256';
SET log_min_error_statement = 'panic';
\set optuna_password `cat "$SECRETS_FOLDER/optuna_password"`
\set dashboard_password `cat "$SECRETS_FOLDER/dashboard_password"`
\set mlflow_password `cat "$SECRETS_FOLDER/mlflow_password"`

CREATE ROLE autoopt_rw LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'optuna_password';
CREATE ROLE mlflow_rw LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'mlflow_password';
CREATE ROLE dashboard_ro LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'dashboard_password';
ALTER ROLE dashboard_ro SET default_transaction_read_only = on;
ALTER ROLE dashboard_ro SET statement_timeout = '30s';

CREATE DATABASE optuna OWNER autoopt_rw;
CREATE DATABASE mlflow OWNER mlflow_rw;
REVOKE ALL ON DATABASE postgres, template1, optuna, mlflow FROM PUBLIC;
GRANT CONNECT ON DATABASE optuna TO dashboard_ro;

\connect optuna
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO autoopt_rw;
GRANT USAGE ON SCHEMA public TO dashboard_ro;
ALTER DEFAULT PRIVILEGES FOR ROLE autoopt_rw IN SCHEMA public GRANT SELECT ON TABLES TO dashboard_ro;

\connect mlflow
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO mlflow_rw;
SQL
