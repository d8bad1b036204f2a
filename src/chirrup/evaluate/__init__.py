"""Evaluate codecs: run them on clips, score the decoded audio, write a report."""
