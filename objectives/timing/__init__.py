"""Timing of calls: in turn with a reference, on a quiet machine that is identified."""
