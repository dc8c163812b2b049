"""Commands on the folder of one model."""
