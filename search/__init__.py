"""How we look: the only layer that knows Ray, Optuna, MLflow and click."""
