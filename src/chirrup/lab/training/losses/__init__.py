"""Reconstruction losses."""
