"""How we judge: tasks with their scores, latency, size."""
