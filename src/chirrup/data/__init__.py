"""Corpora for training: from folders of recordings to a curated one with a manifest.

``layouts`` knows how data sets lie on disk, ``measure`` looks at every file (`quality`,
`reverberation`, `rooms`), ``filters``, ``balance`` and ``splits`` decide what is kept and where,
``shards`` and ``manifest`` write it, ``report`` tells. ``prepare`` is all of it in a row, ``check``
looks at a corpus again. docs/how-to/data.md is for those who use it.
"""
