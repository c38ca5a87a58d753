"""Read an exported file into memory, once, and check what it may contain before a runtime sees it."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnets.errors import UserError
from resnets.inference import openvino_cache
from resnets.inference.exported import metadata, onnx_sizes, openvino_sizes
from resnets.inference.import_openvino import has_openvino, import_openvino
from resnets.inference.optional_packages import import_optional

ONNX, OPENVINO = "onnx", "openvino"
XML, WEIGHTS = "model.xml", "model.bin"  # in the folder of OpenVINO
MAX_BYTES = 2**31 - 1  # of an ONNX file: the limit of protobuf
# How OpenVINO writes XML. Its runtime recognizes a model by the content, whatever the name, and opens other files that a
# model of ONNX or TensorFlow names; none of these begins so.
_XML_START = re.compile(rb"(<\?xml[^<>]*\?>\s*)?<net[\s>]")


@dataclass(frozen=True, eq=False)
class ExportedFile:
    """The content of an exported file.

    Attributes:
        path: the file; a folder for OpenVINO.
        format: "onnx" or "openvino".
        content: the bytes of the ONNX file, or OpenVINO's XML and its weights.
        metadata: as in `resnets.inference.exported.metadata`.
    """

    path: Path
    format: str
    content: tuple[bytes, ...]
    metadata: Mapping[str, Any]

    def openvino_model(self) -> Any:
        """The content as an `openvino.Model`."""
        return _openvino_model(self.content)


def read(path: Path, format_name: str) -> ExportedFile:
    """Read the ONNX file or the OpenVINO folder at `path`.

    Raises:
        UserError: it cannot be read, is damaged, was not exported by resnets, or has weights outside of the file; or the package
            that reads it is not installed.
    """
    try:
        if format_name == ONNX:
            content: tuple[bytes, ...] = (read_bytes(path),)
            values = _onnx_metadata(content[0])
        else:
            content = (read_bytes(path / XML), read_bytes(path / WEIGHTS))
            values = _openvino_metadata(content)
        return ExportedFile(path, format_name, content, values)
    except OSError as error:
        raise UserError(f"'{error.filename or path}' cannot be read: {error.strerror}.") from None
    except UserError as error:
        text = str(error)
        raise UserError(f"'{path}' {text}" if text[0].islower() else f"'{path}': {text}") from None


def is_resnets_pt2(path: Path) -> bool:
    """Whether the file at `path` is a .pt2 with the metadata of resnets; nothing else of it is loaded.

    Raises:
        OSError, UserError: it cannot be read, or its metadata are damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(each for each in archive.namelist() if each.endswith(f"extra/{metadata.KEY}"))
            return bool(metadata.decode(archive.read(name).decode()))
    except (zipfile.BadZipFile, StopIteration, UnicodeDecodeError):
        return False


def read_bytes(path: Path) -> bytes:
    """The content of an ordinary file, or of a link to one.

    Raises:
        OSError: it cannot be read.
        UserError: it is something else, such as a device without an end, or too large; the message is the end of a sentence.
    """
    information = path.stat()
    if not stat.S_ISREG(information.st_mode):
        raise UserError(f"cannot be read: '{path.name}' is not an ordinary file.")
    if information.st_size > MAX_BYTES:
        raise UserError(f"has {information.st_size:,} bytes; files beyond 2 GB are not read.")
    with path.open("rb") as file:
        return file.read(information.st_size)


def _onnx_metadata(content: bytes) -> dict[str, Any]:
    onnx = import_optional("onnx", "onnx")
    if not content:
        raise UserError("is empty. Copy or export it again.")
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # DecodeError of google.protobuf, which is a requirement of onnx only
        raise UserError("is damaged, or no ONNX file. Copy or export it again.") from None
    for tensor in _tensors(model, onnx.TensorProto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise UserError("has weights in another file, which is not read. Export it again: resnets writes one file.")
    text = next((str(entry.value) for entry in model.metadata_props if entry.key == metadata.KEY), None)
    values = metadata.decode(text)
    onnx_sizes.check(model, values["size"], len(content))
    return values


def _tensors(message: Any, kind: type) -> Iterator[Any]:
    """All tensors in a message of protobuf, at any depth, which its parser has limited."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in value if hasattr(value, "__len__") else [value]:
            if isinstance(each, kind):
                yield each
            yield from _tensors(each, kind)


def _openvino_metadata(content: tuple[bytes, ...]) -> dict[str, Any]:
    if not has_openvino():
        raise UserError("This needs OpenVINO, which is not installed: pip install 'resnets[openvino]'")
    model = _openvino_model(content)
    key = [metadata.KEY]
    values = metadata.decode(str(model.get_rt_info(key).astype(str)) if model.has_rt_info(key) else None)
    openvino_sizes.check(model, values["size"], sum(map(len, content)))
    return values


def _openvino_model(content: tuple[bytes, ...]) -> Any:
    openvino = import_openvino()
    xml, weights = content
    damaged = UserError("is damaged, or no model of OpenVINO. Copy or export it again.")
    if not _XML_START.match(xml) or b"<!" in xml:  # such as <!DOCTYPE
        raise damaged
    openvino_sizes.check_stated(xml)
    try:
        return openvino_cache.core().read_model(xml, openvino.Tensor(np.frombuffer(weights, np.uint8)))
    except RuntimeError:
        raise damaged from None
