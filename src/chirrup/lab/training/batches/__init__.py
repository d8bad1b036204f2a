"""Recordings and what training draws from them."""
