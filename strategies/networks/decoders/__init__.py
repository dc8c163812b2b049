"""Decoders in tasks that have a head of their own."""
