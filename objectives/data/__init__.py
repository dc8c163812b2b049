"""How data are found, read, split and kept."""
