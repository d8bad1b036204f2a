"""Teachers, and what a model learns from them."""
