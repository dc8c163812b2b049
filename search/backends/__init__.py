"""The doors of Ray, Optuna and MLflow: the only files that import them."""
