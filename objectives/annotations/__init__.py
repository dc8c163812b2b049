"""Exports of annotation tools as rows with texts, classes and spans."""
