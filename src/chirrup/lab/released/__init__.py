"""Weights that a model's authors released."""
