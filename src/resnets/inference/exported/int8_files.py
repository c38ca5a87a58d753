"""Files of quantized models (int8), and what was proved of each, in a JSON file beside it.

Beside a checkpoint NAME.safetensors, or in the current folder for weights that have a name
(`resnets.weights.local_file.export_path`):

    NAME_int8_openvino/ or NAME_int8.onnx   the model in int8
    the same name + .gate.json              the verdict, with the hashes of the model's file and of the checkpoint
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.inference import hardware
from resnets.inference.exported import read_exported
from resnets.inference.exported.read_exported import ONNX, OPENVINO, ExportedFile
from resnets.progress import log

INT8 = "int8"  # the precision in the metadata
PASSED = "passed"  # the verdict of a file that may be used in place of its checkpoint
ENDINGS = {OPENVINO: "_int8_openvino", ONNX: "_int8.onnx"}  # after the name of the checkpoint, by format
GATE = ".gate.json"  # after the name of the file or folder


def content_sha256(file: ExportedFile) -> str:
    """The SHA-256 of an ONNX file, or of OpenVINO's `model.xml` followed by its `model.bin`."""
    digest = hashlib.sha256()
    for part in file.content:
        digest.update(part)
    return digest.hexdigest()


def find(checkpoint: Path, candidates: Mapping[str, Path]) -> ExportedFile:
    """The int8 file of a checkpoint that passed the gate and belongs to these very weights.

    Args:
        candidates: where such a file would be, by its format.

    Raises:
        UserError: there is none; the message says why, and which command writes one.
    """
    reasons = []
    for to, path in candidates.items():
        if path.exists():
            try:
                return _proved(path, to, sha256(checkpoint))
            except UserError as error:
                reasons.append(str(error))
    reason = reasons[0] if reasons else f"'{checkpoint}' has no int8 file beside it."
    raise UserError(f"{reason} Write one and prove it: resnets quantize {shlex.quote(str(checkpoint))} IMAGES")


def _proved(path: Path, to: str, checkpoint_sha256: str) -> ExportedFile:
    note = _gate_path(path)
    gate = read_gate(note)
    if gate is None:
        raise UserError(f"'{path}' is not used: there is no proof of it, '{note.name}', beside it.")
    if gate["verdict"] != PASSED:
        raise UserError(f"'{path}' is not used: it did not pass, as '{note.name}' says.")
    file = read_exported.read(path, to)
    if not file.metadata["checkpoint_sha256"] == gate.get("checkpoint_sha256") == checkpoint_sha256:
        raise UserError(f"'{path}' is not used: it was made of other weights than those of the checkpoint.")
    if file.metadata["precision"] != INT8 or gate["file_sha256"] != content_sha256(file):
        raise UserError(f"'{path}' is not used: it is not the file that '{note.name}' was written for.")
    return file


def passed_in_words(file: ExportedFile) -> str:
    """`passed with max_drop=0.5 and min_gain=1.2 and was 1.31 times as fast`, of a file that `find` returned."""
    gate = read_gate(_gate_path(file.path)) or {}
    gain = gate.get("gain")
    limits = f"`max_drop={_number(gate.get('max_drop'), 'g')}` and `min_gain={_number(gate.get('min_gain'), 'g')}`"
    times = _number(gain.get("speedup") if isinstance(gain, dict) else None, ".2f")
    return f"passed with {limits} and was {times} times as fast"


def _number(value: object, form: str) -> str:
    return format(value, form) if isinstance(value, (int, float)) and abs(value) < 1e9 else "unknown"


def _gate_path(path: Path) -> Path:
    """The JSON file beside an int8 file."""
    return path.with_name(path.name + GATE)


def read_gate(note: Path) -> Mapping[str, Any] | None:
    """The content of the JSON file beside an int8 file; None if there is none, or it is something else."""
    try:
        values = json.loads(read_exported.read_bytes(note))
    except (OSError, UserError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and {"verdict", "file_sha256"} <= values.keys() else None


def describe_processor() -> dict[str, Any]:
    """What the results of int8 depend on, for the JSON file."""
    return {"name": hardware.cpu_name(), "flags": sorted(hardware.cpu_flags() & hardware.INT8_FLAGS)}


def warn_of_processor(file: ExportedFile) -> None:
    """Log a warning where a file was proved on a processor with instructions that this one lacks."""
    gate = read_gate(_gate_path(file.path))
    processor = gate.get("processor") if gate else None
    flags = processor.get("flags") if isinstance(processor, dict) else None
    if not isinstance(flags, list):
        return
    if missing := sorted(set(map(str, flags)) - hardware.cpu_flags()):
        log(
            f"warning: '{file.path}' was proved on a processor with {', '.join(missing)}, which this one does not have: what it "
            "loses and what it gains may differ here. Quantize the checkpoint here to prove it"
        )
