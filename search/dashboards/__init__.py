"""The servers behind ``autoopt dashboard``."""
