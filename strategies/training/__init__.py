"""The training loop, batches, checkpoints and losses."""
