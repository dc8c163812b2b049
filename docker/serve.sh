#!/bin/sh
# Starts one service of the stack with its secrets read from files: they are on no command line and in no image.
# serve schema | dashboard | mlflow | ray-head | ray-worker | autoopt ARGUMENTS...
set -eu

secrets=${AUTOOPT_SECRETS:-/run/secrets}
scratch=${AUTOOPT_SCRATCH:-/tmp}
umask 077

secret() {
    if [ ! -s "$secrets/$1" ]; then
        echo "serve: the secret $secrets/$1 is missing or empty; docker/make-secrets.sh makes it" >&2
        exit 5
    fi
    cat "$secrets/$1"
}

require_token() {
    secret ray_token >/dev/null
    export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$secrets/ray_token"
}

database() { # role, password, name
    printf 'postgresql+psycopg://%s:%s@%s/%s' "$1" "$2" "${AUTOOPT_POSTGRES:-postgres:5432}" "$3"
}

service=${1:?serve: name a service: schema, dashboard, mlflow, ray-head, ray-worker or autoopt}
shift

case $service in
schema)
    # The dashboard may only read, so somebody else has to create the tables.
    password=$(secret optuna_password)
    AUTOOPT_DATABASE=$(database autoopt_rw "$password" optuna)
    export AUTOOPT_DATABASE
    exec python -c 'import os, optuna; optuna.storages.RDBStorage(os.environ["AUTOOPT_DATABASE"])'
    ;;
dashboard)
    password=$(secret dashboard_password)
    AUTOOPT_DATABASE=$(database dashboard_ro "$password" optuna)
    export AUTOOPT_DATABASE
    exec gunicorn --chdir "${AUTOOPT_DASHBOARD:-/opt/dashboard}" --bind 0.0.0.0:8080 --threads 8 --worker-tmp-dir "$scratch" \
        "$@" dashboard:application
    ;;
mlflow)
    password=$(secret mlflow_password)
    MLFLOW_AUTH_ADMIN_PASSWORD=$(secret mlflow_admin_password)
    MLFLOW_FLASK_SERVER_SECRET_KEY=$(secret mlflow_session_key)
    MLFLOW_BACKEND_STORE_URI=$(database mlflow_rw "$password" mlflow)
    MLFLOW_AUTH_CONFIG_PATH=$scratch/mlflow-auth.ini
    export MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_BACKEND_STORE_URI MLFLOW_AUTH_CONFIG_PATH
    export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
    printf '[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = %s\nadmin_username = admin\n' \
        "$MLFLOW_BACKEND_STORE_URI" >"$MLFLOW_AUTH_CONFIG_PATH"
    exec mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 --workers 2 \
        --serve-artifacts --artifacts-destination "${AUTOOPT_ARTIFACTS:-/artifacts}" \
        --allowed-hosts mlflow:5000,localhost:5000,127.0.0.1:5000 "$@"
    ;;
ray-head)
    require_token
    # No trials here: the head holds the driver, and what it loses the study cannot replace.
    exec ray start --head --block --disable-usage-stats --num-cpus=0 --port=6379 \
        --node-ip-address="${AUTOOPT_HEAD_ADDRESS:?}" --dashboard-host=0.0.0.0 --dashboard-port=8265 \
        --object-store-memory=200000000 "$@"
    ;;
ray-worker)
    require_token
    exec ray start --block --disable-usage-stats --address="${AUTOOPT_HEAD_ADDRESS:?}:6379" \
        --num-cpus="${AUTOOPT_WORKER_CPUS:-2}" --node-manager-port=6380 --object-store-memory=200000000 "$@"
    ;;
autoopt)
    if [ -e "$secrets/ray_token" ]; then
        require_token
        AUTOOPT_DATABASE_PASSWORD=$(secret optuna_password)
        MLFLOW_TRACKING_PASSWORD=$(secret mlflow_admin_password)
        export AUTOOPT_DATABASE_PASSWORD MLFLOW_TRACKING_PASSWORD MLFLOW_TRACKING_USERNAME=admin
        export RAY_ADDRESS="${RAY_ADDRESS:-auto}"
    fi
    exec autoopt "$@"
    ;;
*)
    echo "serve: no service '$service'; there are schema, dashboard, mlflow, ray-head, ray-worker and autoopt" >&2
    exit 2
    ;;
esac
