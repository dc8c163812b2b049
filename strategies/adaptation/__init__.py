"""Ways to teach the task to the model."""
