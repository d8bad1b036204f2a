"""Measuring codecs: audits, next to what the papers say."""
