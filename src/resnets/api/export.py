"""`resnets.export_model`: a trained model as a file for other runtimes, with the proof that it computes the same."""

from collections.abc import Iterable
from pathlib import Path

from resnets.errors import UserError
from resnets.export import export_file, export_library_folder, export_repository
from resnets.export.certificate.certificate import Certificate, RefusedExportError
from resnets.export.export_repository import REPOSITORY
from resnets.export.library_onnx import LIBRARIES
from resnets.tasks.trained_model import TrainedModel

__all__ = ["RefusedExportError", "export_model"]

NORMALIZE = "normalize"


def export_model(
    model: TrainedModel | str | Path,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    layout: str | None = None,
    preprocess: str = NORMALIZE,
    heatmap: bool = False,
    images: str | Path | Iterable[str | Path] = (),
) -> Certificate:
    """Write a trained model as a file for other runtimes, and a certificate beside it: OUT.certificate.json.

    The outputs of the file are compared with those of the checkpoint, in each installed runtime that reads the format. What
    differs too much is kept as OUT.refused.

    Args:
        model: a checkpoint, a run directory, a name of `resnets weights list`, or what `resnets.load` returned.
        out: the file to write, .onnx or .pt2; for the others a folder. None: beside the checkpoint.
        format: "onnx", "openvino" or "torch", which is a .pt2 of torch.export; "huggingface" or "timm", a folder as
            `resnets.convert` writes it, with `onnx/model.onnx` as transformers.js reads it.
        layout: "repository" for a folder of models as Triton, KServe and OpenVINO Model Server read it: the ONNX file is
            OUT/NAME/1/model.onnx, and OUT/NAME/config.pbtxt describes it. None: the file alone.
        preprocess: how much of it is in the file. "full": it takes uint8 RGB (N, H, W, 3) of any size; "normalize": resized and
            cropped; "none": it takes the normalized float32 (N, C, H, W).
        heatmap: whether the class activation maps are a further output of a classifier.
        images: images and folders to compare on; empty for the val images of the run, or for photographs of scikit-learn where
            there are none.

    Returns:
        The certificate: `.runtimes` has the differences, `.to_dict()` is the content of its file.

    Raises:
        UserError: there is no such checkpoint, it cannot be exported yet, a package that writes the format is missing, an image
            cannot be read, or there is something at `out` that resnets did not export.
        RefusedExportError: the outputs differ too much. It is a JobError, and its `.certificate` says how much.
        JobError: no installed runtime reads the format, the comparison does not notice a fault that was made on purpose, or the
            disk is full.
    """
    paths = [str(images)] if isinstance(images, (str, Path)) else list(map(str, images))
    if layout is not None:
        if layout != REPOSITORY:
            raise UserError(f"`layout` is {REPOSITORY} or left out; received '{layout}'.")
        if format != "onnx":
            raise UserError(
                f"`layout={REPOSITORY}` has an ONNX file; received `format={format}`. Leave one of them out."
            )
        return export_repository.export(model, out, preprocess=preprocess, heatmap=heatmap, images=paths)
    if format in LIBRARIES:
        for name, value, default in (("preprocess", preprocess, NORMALIZE), ("heatmap", heatmap, False)):
            if value != default:
                raise UserError(f"`{name}` has no effect with `format={format}`: the library prepares the images.")
        return export_library_folder.export(model, out, to=format, images=paths)
    return export_file.export(model, out, to=format, preprocess=preprocess, heatmap=heatmap, images=paths)
