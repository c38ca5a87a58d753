"""Exceptions with messages for users."""

# The file in a Git repository without its LFS objects (git-lfs.com/spec): its first bytes, and how messages call it.
LFS_POINTER = b"version https://git-lfs"
LFS = "a Git LFS pointer, which stands for the file; run 'git lfs pull' to get it"


class UserError(ValueError):
    """What was asked for cannot be done as asked: a missing path, an unknown name, a value out of range.

    The message is one line that names what was received and says what to do. The command line prints it without a
    traceback and ends with exit code 2.
    """


class ImageError(UserError):
    """An image cannot be used: its file cannot be read, or it is smaller than what is asked for can take.

    Attributes:
        reason: what is wrong with it and what to do, without its name.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.reason = message


class JobError(RuntimeError):
    """The job was started and failed: a loss that became NaN, a full disk, unreadable images.

    The command line prints the message without a traceback and ends with exit code 1.
    """


class DivergedError(JobError):
    """A loss of a training is not finite."""
