"""Words in messages."""


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, for example ``1 file`` and ``2 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def one_line(text: str) -> str:
    """Return a text of several lines in one line."""
    return " ".join(map(str.strip, text.splitlines()))
