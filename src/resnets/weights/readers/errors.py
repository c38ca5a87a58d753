"""What the readers within the sandbox share: their error, and how much a file may claim."""

RATIO = 20  # bytes of tensors for one byte of the file; trained weights compress by 1.1, freshly made ones by more


class RefusedError(Exception):
    """The file does what no file of weights does; the message continues `'FILE' `."""
