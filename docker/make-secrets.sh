#!/bin/sh
# Makes the secrets that compose.yaml needs, each of 256 random bits; one that exists is kept.
set -eu

folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
# Compose mounts a secret with the owner and mode that it has here, and the services run as other users: the files are
# readable to all, the folder to its owner alone.
chmod 0700 "$folder"

for name in postgres_password optuna_password dashboard_password mlflow_password mlflow_admin_password \
    mlflow_session_key ray_token; do
    if [ ! -s "$folder/$name" ]; then
        head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/.$name"
        chmod 0444 "$folder/.$name"
        mv -f "$folder/.$name" "$folder/$name"
        echo "made $folder/$name"
    fi
done
