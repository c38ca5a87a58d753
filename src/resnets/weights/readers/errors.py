"""The error of the readers in the sandbox, and the limit on the size of tensors."""

# Bytes of tensors per byte of the file; trained weights compress by a factor of 1.1, initial weights by more.
RATIO = 20


class RefusedError(Exception):
    """The file is refused; the message continues `'FILE' `."""
