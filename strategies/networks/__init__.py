"""The parts of models: where they are, and how they are changed."""
