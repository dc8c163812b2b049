"""Which recipe is tried next, and which trial is stopped early."""
