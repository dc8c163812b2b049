"""Scores of answers, their confidence intervals, and the comparison of two models."""
