"""Smaller architectures, and training that recovers what a cut has cost."""
