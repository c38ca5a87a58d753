"""Write a traced graph as a `.pt2` file of torch.export."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from resnets import atomic_write
from resnets.inference.exported.metadata import encode


def write(path: Path, program: Any, metadata: Mapping[str, Any]) -> None:
    """Write a `torch.export.ExportedProgram`; the metadata are its extra files. Equal content gives equal bytes.

    Raises:
        JobError: `path` cannot be written to.
    """
    content = io.BytesIO()  # a file would get its name into the archive
    torch.export.save(program, content, extra_files=encode(metadata))
    atomic_write.write_bytes(path, content.getvalue())
