"""Faster arithmetic for the same architecture; applied last."""
