"""Rows of a data file before their meaning is known, and what file formats share to read them."""
