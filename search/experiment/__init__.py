"""The experiment file: read, validated, explained."""
