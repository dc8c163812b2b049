"""How a call is timed: in turn with a reference, on a quiet machine, with its machine noted."""
