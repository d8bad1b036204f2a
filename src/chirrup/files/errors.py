"""The error of everything that can go wrong with a person's files and options."""


class FileError(Exception):
    """An expected failure. The message is one line that says what is wrong and what to do."""
