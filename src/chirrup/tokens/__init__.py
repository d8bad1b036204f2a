"""Data sets of tokens: recordings to shards of codes and back, and a reader for training.

>>> tokens = chirrup.tokens.open("tokens")
>>> tokens.codes(0, start_s=1.0, end_s=2.5)
"""

from chirrup.tokens.decoding import Detokenized, detokenize
from chirrup.tokens.layouts import flatten, unflatten
from chirrup.tokens.making import Tokenized, settings_of, tokenize
from chirrup.tokens.reader import Tokens, open
from chirrup.tokens.rows import Row, Settings

__all__ = [
    "Detokenized",
    "Row",
    "Settings",
    "Tokenized",
    "Tokens",
    "detokenize",
    "flatten",
    "open",
    "settings_of",
    "tokenize",
    "unflatten",
]
