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
        offset: position of the fault in bytes from the start of the file or packet.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.args[0]} (at byte {self.offset})"
