"""Recipes, and the space of the recipes that a study may try."""
