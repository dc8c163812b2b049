"""Texts and tags, as used by augmentation."""
