"""An image file whose SHA-256 is that of the bytes that were decoded."""

import hashlib
import os

from resnets.data.image.open_image_file import DecodeError, open_image_file, short_reason
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.errors import ImageError

# Of a file that is read into memory as a whole, one in each thread that decodes: 89 million pixels of 8 bits without compression.
MOST_BYTES = 2**28


class HashedFile(os.PathLike[str]):
    """The path of an image, or its address in a tar, for `TrainedModel.stream`; it is read once, by the thread that decodes it.

    Args:
        path: for `open_image_file`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._digest: str | None = None

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def content(self) -> bytes | str:
        """The bytes of the file; of one above `MOST_BYTES`, the path.

        Raises:
            DecodeError: it cannot be opened or read.
        """
        with open_image_file(self.path) as file:
            try:
                content = file.read(MOST_BYTES + 1)
            except OSError as error:
                reason = f"cannot be read ({short_reason(error)}); check the disk."
                raise DecodeError(self.path, "missing", reason) from error
        if len(content) > MOST_BYTES:
            return self.path
        self._digest = hashlib.sha256(content).hexdigest()
        return content

    def digest(self) -> str | None:
        """The SHA-256 of what `content` has returned; None for a file that cannot be opened.

        An image that was read from its file, since it is large or in windows, is hashed now.

        Raises:
            JobError: it is on a disk that does not answer.
        """
        if self._digest is None:
            self._digest = call_with_timeout(_sha256, self.path)
        return self._digest


def _sha256(path: str) -> str | None:
    try:
        with open_image_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (ImageError, OSError):
        return None
