"""Discriminators, and the losses with them."""
