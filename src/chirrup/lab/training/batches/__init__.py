"""Batches for training: recordings, augmentation, resampling, and dropout of codes."""
