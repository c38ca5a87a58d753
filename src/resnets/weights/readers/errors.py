"""The error of the readers in the sandbox, and the limit on the size of tensors."""

RATIO = (
    20  # bytes of tensors per byte of the file; trained weights compress by a factor of 1.1, initial weights by more
)


class RefusedError(Exception):
    """The file is refused; the message continues `'FILE' `."""
