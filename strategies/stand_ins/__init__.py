"""Replacements for modules and models that compute the same in another way."""
