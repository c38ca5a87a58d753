"""Export a classifier as a folder of transformers or timm, with a certificate of its ONNX file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from resnets import atomic_write
from resnets.errors import JobError, UserError
from resnets.export import export_file, output_path, write_library_folder, write_onnx
from resnets.export.certificate import evidence, proof_images
from resnets.export.certificate.certificate import Certificate
from resnets.export.certificate.certify import certify
from resnets.export.certificate.evidence import Evidence
from resnets.export.export_file import CERTIFICATE
from resnets.export.graph import LOGITS
from resnets.progress import log
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import huggingface_preprocess, model_card

OWN_FILES = {"config.json", "model.safetensors", huggingface_preprocess.PROCESSOR, model_card.FILE, "onnx"}


def export(model: TrainedModel | str | Path, out: str | Path | None, *, to: str, images: Sequence[str]) -> Certificate:
    """Write the folder, and the certificate beside its ONNX file; see `resnets.export_model`."""
    trained, file = export_file.load(model)
    folder = Path(out) if out is not None else output_path.default(file, f"_{to}")
    _check_folder(folder)
    checkpoint = checkpoints.read(file, task=None)
    traced = write_library_folder.traced_logits(checkpoint, file)
    chosen = proof_images.choose(images, file, checkpoint)
    found = _as_of_folder(evidence.collect(trained, (LOGITS,), chosen, "none"), checkpoint, traced.checkpoint)
    lines = write_library_folder.write_tensors(to, folder, traced)
    log(f"tracing {checkpoint.spec.name}, and writing it as onnx ...")
    contents = {"": write_onnx.to_bytes(write_library_folder.onnx_model(traced), traced.metadata("onnx"))}
    path = folder / write_library_folder.ONNX_FILE
    result = certify(path, "onnx", contents, traced.metadata("onnx"), file.name, found)
    if not result.passed:
        path = output_path.beside(path, output_path.REFUSED)
        result = result.written_to(path)
    path.parent.mkdir(exist_ok=True)
    atomic_write.write_text(output_path.beside(path, CERTIFICATE), json.dumps(result.to_dict(), indent=1) + "\n")
    atomic_write.write_bytes(path, contents[""])
    if not result.passed:
        raise JobError(f"The ONNX file is refused and kept as '{path}': {result.reason}.")
    for line in lines:
        log(line)
    log(f"written: '{path}' and its certificate '{path.name}{CERTIFICATE}'")
    return result


def _as_of_folder(found: Evidence, checkpoint: Checkpoint, folded: Checkpoint) -> Evidence:
    """The same with the input of the library's network, and with logits that are divided by the temperature."""
    batches = []
    for batch in found.batches:
        pixels = torch.from_numpy(batch.frames).permute(0, 3, 1, 2)
        logits = {LOGITS: batch.expected[LOGITS] / checkpoint.temperature}
        batches.append(replace(batch, inputs=folded.preprocess.normalize(pixels).numpy(), expected=logits))
    return replace(found, batches=batches)


def _check_folder(folder: Path) -> None:
    """Raise UserError where the folder would get among files of another kind."""
    if folder.is_file():
        raise UserError(f"A model of transformers or timm is a folder; '{folder}' is a file.")
    if folder.is_dir() and (others := sorted({each.name for each in folder.iterdir()} - OWN_FILES)):
        raise UserError(f"'{folder}' has other files, such as '{others[0]}': choose another `out`.")
    atomic_write.check_folder_writable(folder)
