"""Texts and tags as augmentation changes them."""
