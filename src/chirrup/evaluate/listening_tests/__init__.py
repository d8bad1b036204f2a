"""Blind listening tests of the systems of an evaluation: MUSHRA, ABX and the diagnostic rhyme test.

`design` makes a test from a folder that ``chirrup evaluate`` wrote. A browser shows it
(``web/listen.html``). `ratings` reads what listeners sent, and `analysis` computes the tables.
docs/how-to/listening-tests.md describes the whole way, and docs/reference/listening-tests.md the
files.
"""
