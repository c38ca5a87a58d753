"""Export a classifier as a folder of transformers or timm, with a certificate of its ONNX file."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from resnets import atomic_write
from resnets.errors import UserError
from resnets.export import export_file, library_onnx, output_path, to_onnx
from resnets.export.certificate import evidence, proof_images
from resnets.export.certificate.certificate import Certificate, RefusedExportError
from resnets.export.certificate.certify import certify
from resnets.export.certificate.evidence import Evidence
from resnets.export.graph import LOGITS
from resnets.export.library_onnx import ONNX_FILE
from resnets.hashing import sha256
from resnets.inference.exported import read_exported
from resnets.inference.exported.metadata import CERTIFICATE
from resnets.progress import log
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights import conversion, local_file
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import huggingface_preprocess, model_card

OWN_FILES = {
    *("config.json", "model.safetensors", huggingface_preprocess.PROCESSOR, model_card.FILE),
    *(str(ONNX_FILE), f"{ONNX_FILE}{CERTIFICATE}"),
}


def export(model: TrainedModel | str | Path, out: str | Path | None, *, to: str, images: Sequence[str]) -> Certificate:
    """Write the folder, and the certificate beside its ONNX file; see `resnets.export_model`."""
    digest = sha256(export_file.find(model))
    trained, file = export_file.load(model)
    folder = Path(out) if out is not None else local_file.export_path(file, f"_{to}")
    for target in (folder, output_path.beside(folder, output_path.REFUSED)):
        _check_folder(target)
    checkpoint = checkpoints.read(file, task=None)
    traced = library_onnx.traced_logits(checkpoint, file)
    with tempfile.TemporaryDirectory(prefix="resnets-") as temporary:
        new = Path(temporary, folder.name)
        lines = conversion.convert(file, to=to, out=new)
        chosen = proof_images.choose(images, file, checkpoint)
        found = _as_of_folder(evidence.collect(trained, (LOGITS,), chosen, "none"), checkpoint, traced.checkpoint)
        metadata = traced.metadata("onnx")
        if metadata["checkpoint_sha256"] != digest:  # by a training that goes on
            raise UserError(f"'{file}' was changed while it was read. Export it when its training has ended.")
        log(f"tracing {checkpoint.spec.name}, and writing it as onnx ...")
        content = to_onnx.to_bytes(library_onnx.onnx_model(traced), metadata)
        result = certify(folder / ONNX_FILE, "onnx", {"": content}, metadata, file.name, found)
        if not result.passed:
            folder = output_path.beside(folder, output_path.REFUSED)
            result = result.written_to(folder / ONNX_FILE)
        (new / ONNX_FILE).parent.mkdir()
        (new / ONNX_FILE).write_bytes(content)
        note = output_path.beside(new / ONNX_FILE, CERTIFICATE)
        note.write_text(json.dumps(result.to_dict(), indent=1) + "\n")
        with atomic_write.replace_folder(folder) as whole:
            shutil.copytree(new, whole, dirs_exist_ok=True)
    if not result.passed:
        raise RefusedExportError(
            f"The ONNX file is refused, and the folder kept as '{folder}': {result.reason}.", result
        )
    for line in lines:
        log(line.replace(str(new), str(folder)))
    log(f"written: '{folder / ONNX_FILE}' and its certificate '{ONNX_FILE.name}{CERTIFICATE}'")
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
    """Raise UserError where there is anything that is no folder of resnets, which is replaced as a whole."""
    if folder.is_file():
        raise UserError(f"A model of transformers or timm is a folder; '{folder}' is a file.")
    if folder.is_dir() and any(folder.iterdir()):
        names = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if not each.is_dir()}
        if others := sorted(names - OWN_FILES):
            raise UserError(f"'{folder}' has other files, such as '{others[0]}': choose another `out`.")
        try:
            read_exported.read(folder / ONNX_FILE, "onnx")
        except UserError:
            raise UserError(f"'{folder}' was not exported by resnets: choose another `out`, or remove it.") from None
    atomic_write.check_folder_writable(folder.parent)
