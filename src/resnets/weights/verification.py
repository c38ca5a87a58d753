"""Verify that two weights files give the same probabilities, with resnets and with the library of each.

A pipeline goes from an image file to the probabilities: decoding, preprocessing, network, temperature, softmax. If a format
includes the preprocessing (resnets, a folder of Hugging Face or of timm), each side uses its own; a file with tensors only uses
the preprocessing of the other side.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.datasets import walk_folders
from resnets.data.datasets.dataset import UnusedFiles
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.detection import padding
from resnets.weights import checkpoint as checkpoints
from resnets.weights.detection import verify_detectors
from resnets.weights.formats import registry
from resnets.weights.identify import is_resnets_checkpoint
from resnets.weights.load_weights import LoadedWeights, Request, load
from resnets.weights.segmentation import verify_segmenters
from resnets.weights.verification_result import Comparison, Verification

BATCH = 16
LIBRARIES = {"torchvision": "torchvision", "timm": "timm", "huggingface": "transformers", "keras": "keras"}
GENERATED_SIDE = 320  # pixels of the generated images for detectors and segmenters, whose own sizes would take minutes
# Heights and widths of the generated images, as factors of the side of the network's input.
SHAPES = ((1, 1), (2, 1), (1, 2), (1.5, 2), (2, 1.5), (3, 1), (1, 3), (2.5, 2.5))

Prepare = Callable[[Path], Tensor]  # (C, h, w)


@dataclass(frozen=True, eq=False)
class _Pipeline:
    name: str
    prepare: Prepare
    network: Callable[[Tensor], Tensor]
    temperature: float = 1.0
    reason: str = ""  # see `Comparison`
    explained: _Pipeline | None = None  # our pipeline with the preprocessing that `reason` describes


def verify(
    a: str | Path,
    b: str | Path,
    *,
    images: Sequence[str] = (),
    request: Request | None = None,
    imgsz: int | None = None,
) -> Verification:
    """Compare two weights files of any format, with resnets and, if it is installed, with the library of each.

    Args:
        a, b: files or folders; `request` describes both.
        images: image files and folders; without any, PNG files of noise of several shapes are generated.
        imgsz: side of the network's input in pixels; if given, our preprocessing at this size prepares all images.

    Returns:
        The comparison of each other pipeline with the first, and notes on what was assumed.

    Raises:
        UserError: a file cannot be read, the two differ in classes or channels, there are no images, or the library of a
            segmenter is not installed.
    """
    if request and request != Request() and all(is_resnets_checkpoint(Path(path)) for path in (a, b)):
        raise UserError("Both files are checkpoints of resnets, which need no description: leave out the rest.")
    loaded_files = [(path, load(path, None if is_resnets_checkpoint(path) else request)) for path in (Path(a), Path(b))]
    kinds = [checkpoints.KINDS.get(loaded.checkpoint.task) for _, loaded in loaded_files]
    if kinds[0] != kinds[1]:
        first = 0 if kinds[0] else 1
        raise UserError(f"'{(a, b)[first]}' is a {kinds[first]}, '{(a, b)[1 - first]}' is none.")
    if kinds[0]:
        return _compare_dense(loaded_files, images, imgsz)
    specs = [loaded.checkpoint.spec for _, loaded in loaded_files]
    if len({(spec.in_channels, spec.num_classes) for spec in specs}) > 1:
        words = " and ".join(f"{spec.in_channels} channels, {spec.num_classes} classes" for spec in specs)
        raise UserError(f"'{a}' and '{b}' cannot be compared: {words}.")
    notes: list[str] = []
    pipelines: list[_Pipeline] = []
    for (path, loaded), (_, other) in zip(loaded_files, reversed(loaded_files), strict=True):
        preprocess = _preprocess(path, loaded, other, notes)
        if imgsz is not None:
            preprocess = preprocess.with_size(imgsz)
            notes.append(
                f"`imgsz={imgsz}`: resnets prepared all images, so that no library's own preprocessing was compared"
            )
        channels = loaded.checkpoint.spec.in_channels
        if channels != preprocess.channels:
            notes.append(f"{path.name} takes {channels} channels: those of each image are averaged or repeated")
        prepare = _our_preparation(preprocess, channels)
        net = checkpoints.network(loaded.checkpoint).float()
        pipelines.append(_Pipeline(f"{path.name} by resnets", prepare, net, loaded.checkpoint.temperature))
        pipelines += _reference_pipelines(path, loaded, pipelines[-1], notes, own=imgsz is None)
    with _image_files(images, max(loaded_files[0][1].checkpoint.preprocess.size)) as files:
        comparisons = _compare(pipelines, files)
        if not images:
            notes.append(f"the {len(files)} images were generated; `images` compares on yours")
    return Verification(comparisons, tuple(dict.fromkeys(notes)))


def _compare_dense(
    loaded_files: Sequence[tuple[Path, LoadedWeights]], names: Sequence[str], imgsz: int | None
) -> Verification:
    """Compare two detectors, or two segmenters, by all numbers that they compute of images as the first file prepares them."""
    checkpoint = loaded_files[0][1].checkpoint
    preprocess = next((each.checkpoint for _, each in loaded_files if each.has_preprocess), checkpoint).preprocess
    side = imgsz or (None if names else GENERATED_SIDE)
    if side:
        resized = preprocess if preprocess.resize != "none" else replace(preprocess, resize="fit", resize_to=None)
        preprocess = resized.with_size(side)
    notes: tuple[str, ...] = ()
    module = verify_detectors if checkpoint.task == checkpoints.DETECTION else verify_segmenters
    with _image_files(names, side or 0) as files:
        if not names and not imgsz:
            generated = f"the {len(files)} images were generated, {side} pixels wide"
            notes = (f"{generated}; `images` compares on yours",)
        comparisons = module.compare(loaded_files, (padding.pad(preprocess.load(path)[None]) for path in files))
    return Verification(comparisons, notes)


def _preprocess(path: Path, loaded: LoadedWeights, other: LoadedWeights, notes: list[str]) -> Preprocess:
    """The preprocessing of the file or, if it has none, that of the other."""
    if loaded.has_preprocess or not other.has_preprocess:
        if not loaded.has_preprocess:
            notes.append(f"{path.name} has no preprocessing: {loaded.checkpoint.preprocess.describe()} is assumed")
        return loaded.checkpoint.preprocess
    notes.append(f"{path.name} has no preprocessing: that of the other file was used")
    return other.checkpoint.preprocess


def _our_preparation(preprocess: Preprocess, channels: int) -> Prepare:
    """Our preprocessing, from an image file to a tensor (channels, h, w)."""

    def prepare(path: Path) -> Tensor:
        image = preprocess.load(path)
        if channels == len(image):
            return image
        return image.mean(0, keepdim=True) if channels == 1 else image[[i % len(image) for i in range(channels)]]

    return prepare


def _reference_pipelines(
    path: Path, loaded: LoadedWeights, own_pipeline: _Pipeline, notes: list[str], *, own: bool
) -> list[_Pipeline]:
    """The library's own network on our input tensors and, with `own`, on those of the library's own preprocessing, if the file
    includes one, so that differences of the two are told apart. An empty list, and a note, if the library cannot be used.
    """
    if loaded.weights_file is None or loaded.format not in LIBRARIES:
        return []
    library, module = LIBRARIES[loaded.format], registry.find(loaded.format)
    try:
        net = module.reference_model(loaded.weights_file, loaded.checkpoint.spec)
        transform = None
        if own and loaded.has_preprocess and hasattr(module, "reference_transform"):
            transform = module.reference_transform(path)
    except ImportError:
        how = f"pip install {library}"
        notes.insert(0, f"{library} is not installed, so its own network was not run beside that of resnets: {how}")
        return []
    except UserError as error:
        notes.insert(0, f"{library}'s own network was not run: {error}")
        return []
    name = f"{path.name} by {library} {importlib.metadata.version(library)}"
    pipelines = [_Pipeline(name, own_pipeline.prepare, net)]
    if transform:
        # The remarks about timm are advice, which is followed here; timm prepares images as we do.
        known = module.remarks(loaded.checkpoint.preprocess) if loaded.format == "huggingface" else []
        explained = None
        if known:
            prepare = module.transform_with_library_crop(loaded.checkpoint.preprocess)
            explained = replace(own_pipeline, prepare=prepare)
        name += " with its own preprocessing"
        pipelines.append(_Pipeline(name, transform, net, 1.0, "; ".join(known), explained))
    return pipelines


def _compare(pipelines: Sequence[_Pipeline], files: Sequence[Path]) -> tuple[Comparison, ...]:
    """Compare each other pipeline with the first."""
    inputs_of_first, first = _run(pipelines[0], files)
    comparisons = []
    for pipeline in pipelines[1:]:
        inputs, logits = _run(pipeline, files)
        same = all(
            one.shape == other.shape and torch.allclose(one, other, atol=1e-5)
            for one, other in zip(inputs_of_first, inputs, strict=True)
        )
        unexplained = (
            None if same or pipeline.explained is None else _difference(_run(pipeline.explained, files)[1], logits)
        )
        comparisons.append(
            Comparison(
                pipelines[0].name,
                pipeline.name,
                _difference(first, logits),
                ((first - logits).abs().max() / first.abs().max()).item(),
                (first.argmax(1) == logits.argmax(1)).float().mean().item(),
                len(first),
                same,
                pipeline.reason,
                unexplained,
            )
        )
    return tuple(comparisons)


def _run(pipeline: _Pipeline, files: Sequence[Path]) -> tuple[list[Tensor], Tensor]:
    """The input tensors in batches, and the logits divided by the temperature, (N, num_classes)."""
    inputs, logits = [], []
    for start in range(0, len(files), BATCH):
        inputs.append(torch.stack([pipeline.prepare(path) for path in files[start : start + BATCH]]))
        with torch.inference_mode():
            try:
                logits.append(pipeline.network(inputs[-1]).float() / pipeline.temperature)
            except ValueError as error:  # an image that is too small for the network
                raise UserError(f"{pipeline.name}: {error}") from None
    return inputs, torch.cat(logits)


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest absolute difference of a probability."""
    return (one.softmax(1) - other.softmax(1)).abs().max().item()


@contextlib.contextmanager
def _image_files(names: Sequence[str], side: int) -> Iterator[list[Path]]:
    """The named image files or, without names, generated ones: smooth noise, of several shapes around `side`."""
    if names:
        files = [path for name in names for path in _files(Path(name))]
        if not files:
            raise UserError(f"There are no images in {', '.join(names)}.")
        yield files
        return
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="resnets-") as folder:
        paths = []
        for number, (height, width) in enumerate(SHAPES):
            coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
            paths.append(Path(folder) / f"{number}.png")
            image = coarse.resize((round(width * side), round(height * side)), Image.Resampling.BICUBIC)
            image.save(paths[-1], compress_level=0)  # for a second or two
        yield paths


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UserError(f"There is no image and no folder '{path}'.")
    if path.is_dir():
        unused = UnusedFiles()
        files = sorted(walk_folders.walk_images(path, unused))
        walk_folders.refuse_inaccessible(unused)
        return files
    return [path]
