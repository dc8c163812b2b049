"""Layouts of folders that hold a data set."""
