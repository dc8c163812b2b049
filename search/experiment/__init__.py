"""The experiment file: reading, validation, errors."""
