"""Preparation of training corpora from folders of recordings. Guide: docs/how-to/data.md.

- ``layouts`` find the recordings of data sets on disk.
- ``measure`` measures every file with `quality`, `reverberation` and `rooms`.
- ``filters``, ``balance`` and ``splits`` select recordings and assign their splits.
- ``shards``, ``manifest`` and ``report`` write the corpus.
- ``prepare`` runs all of these steps, and ``check`` checks a finished corpus.
"""
