"""Further training without labels, before the task is learned."""
