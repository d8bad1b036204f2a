"""Words for numbers in messages."""


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, for example ``1 file`` and ``2 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
