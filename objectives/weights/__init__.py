"""The weights of models: their numbers checked, pickled ones converted."""
