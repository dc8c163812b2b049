"""One trial: stages, the stage store, the record."""
