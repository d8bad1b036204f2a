"""The errors that chirrup raises on purpose. The message is one line: what is wrong, what to do."""


class ChirrupError(Exception):
    """Base of all expected errors."""


class UsageError(ChirrupError, ValueError):
    """An option, a setting of a recipe, or options that do not fit together."""


class FileError(ChirrupError):
    """A file or folder that cannot be read or written, or a package that is not installed."""


class ModelError(ChirrupError, ValueError):
    """A model, a checkpoint or a configuration that cannot be used."""


class FormatError(ChirrupError, ValueError):
    """Bytes that are not what they should be.

    Attributes:
        offset: byte, counted from the start of the file or packet, where the reader gave up.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.args[0]} (at byte {self.offset})"
