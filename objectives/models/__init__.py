"""Where pretrained models are found and how they are opened."""
