"""A traced graph as a `.pt2` file of torch.export."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch

from resnets.inference.exported.metadata import encode


def to_bytes(program: Any, metadata: Mapping[str, Any]) -> bytes:
    """A `torch.export.ExportedProgram`; the metadata are its extra files. Equal content gives equal bytes."""
    content = io.BytesIO()  # a file would get its name into the archive
    torch.export.save(program, content, extra_files=encode(metadata))
    return content.getvalue()
