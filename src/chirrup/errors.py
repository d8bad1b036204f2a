"""The expected errors of chirrup. A message is one line, which names the fault and the remedy."""


class ChirrupError(Exception):
    """Base of all expected errors."""


class UsageError(ChirrupError, ValueError):
    """An option or a recipe setting is wrong, or options contradict each other."""


class FileError(ChirrupError):
    """A file or folder cannot be read or written, or a package is not installed."""


class ModelError(ChirrupError, ValueError):
    """A model, a checkpoint or a configuration cannot be used."""


class FormatError(ChirrupError, ValueError):
    """A file or packet is malformed.

    Attributes:
        offset: position of the fault in bytes from the start of the file or packet; 0 is also the
            position of a fault of the whole, and is not in the message.
        advice: the remedy, which ends the message, or nothing.
    """

    def __init__(self, message: str, offset: int, advice: str = "") -> None:
        super().__init__(message, offset, advice)
        self.offset, self.advice = offset, advice

    def __str__(self) -> str:
        place = f" (at byte {self.offset})" if self.offset else ""
        return f"{self.args[0]}{place}" + (f": {self.advice}" if self.advice else "")

    def of(self, name: str) -> "FormatError":
        """Return the error with the name of the file before its message."""
        return FormatError(f"{name}: {self.args[0]}", self.offset, self.advice)
