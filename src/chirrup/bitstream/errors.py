"""The one error that a reader of foreign bytes raises."""


class FormatError(ValueError):
    """Bytes that are not what they should be.

    `offset` is the byte, counted from the start of the file or packet, where the reader gave up.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.args[0]} (at byte {self.offset})"
