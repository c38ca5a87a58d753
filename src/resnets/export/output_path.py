"""Where an export is written, beside it a note of what was proved, and what it may replace."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from resnets import atomic_write
from resnets.errors import UserError
from resnets.inference.exported import read_exported
from resnets.weights import local_file

ENDINGS = {"onnx": ".onnx", "openvino": "_openvino", "torch": ".pt2"}
REFUSED = ".refused"  # after the name of what did not pass
_OPENVINO_FILES = {read_exported.XML, read_exported.WEIGHTS}


def check(path: Path, to: str, note_ending: str, is_note: Callable[[Path], bool]) -> None:
    """Raise UserError where an export cannot be written, or would replace anything that is no exported file.

    Args:
        to: its format.
        note_ending: of the name of the note beside it.
        is_note: whether a file that exists is such a note.
    """
    if path.name in ("", ".."):
        raise UserError(f"`out` is the name of what is written, not of a folder for it; received `out={path}`.")
    if to == "openvino":
        if path.suffix in (".xml", ".bin", *local_file.EXPORTED):
            raise UserError(f"`format=openvino` writes a folder; received `out={path}`.")
    elif path.suffix != ENDINGS[to]:
        raise UserError(f"The name of an export with `format={to}` ends in {ENDINGS[to]}; received `out={path}`.")
    for target in (path, beside(path, REFUSED)):
        if os.path.lexists(target) and not _is_exported(target, to):
            raise UserError(
                f"'{target}' exists and was not exported by resnets: choose another `out`, or remove it: "
                f"rm -r {shlex.quote(str(target))}"
            )
        note = beside(target, note_ending)
        if os.path.lexists(note) and not is_note(note):
            raise UserError(f"'{note}' exists and was not written by resnets: choose another `out`.")
        atomic_write.check_file_writable(note)


def beside(path: Path, ending: str) -> Path:
    """The path with `ending` after its name."""
    return path.with_name(path.name + ending)


def _is_exported(path: Path, to: str) -> bool:
    """Whether there is an exported file of this format at `path`, or an empty folder for one."""
    try:
        if to == "openvino":
            files = {each.name for each in path.iterdir()}
            return not files or (files == _OPENVINO_FILES and bool(read_exported.read(path, to)))
        return bool(read_exported.read(path, to)) if to == "onnx" else read_exported.is_resnets_pt2(path)
    except (OSError, UserError):
        return False
