"""More and other training examples."""
