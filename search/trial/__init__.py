"""Running one trial: its stages, the store of their results, its record."""
