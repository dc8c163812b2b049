"""Recipes, and the space of those a study may try."""
