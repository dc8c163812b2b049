"""Answers of a model to a file of texts."""
