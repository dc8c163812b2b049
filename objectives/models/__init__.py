"""Finding, checking and opening of pretrained models."""
