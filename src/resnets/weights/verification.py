"""Whether two files of weights answer alike: the same image files through both, and through the library of each.

A way goes from a file on disk to the probabilities: decoding, preprocessing, network, temperature, softmax. Where a format
carries the preprocessing (ours, a folder of Hugging Face or of timm), each side prepares the images by its own; a file of
tensors alone takes the preprocessing of the other side.
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

from resnets.data.image.formats import SUFFIXES
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.weights import checkpoint as checkpoints
from resnets.weights.conversion import Request, Source, load
from resnets.weights.formats import registry
from resnets.weights.identify import is_ours

TOLERANCE = (
    1e-2  # of a probability, where two libraries prepare an image: transformers' resize rounds to one level in 256
)
EXACT = 1e-4  # of the largest logit, where both networks see the same tensors, in float32
BATCH = 16
LIBRARIES = {"torchvision": "torchvision", "timm": "timm", "huggingface": "transformers", "keras": "keras"}
# Heights and out_channels of the images that are made where none are given; as factors of the side that the network sees.
SHAPES = ((1, 1), (2, 1), (1, 2), (1.5, 2), (2, 1.5), (3, 1), (1, 3), (2.5, 2.5))

Prepare = Callable[[Path], Tensor]  # (C, h, w)


@dataclass(frozen=True)
class Comparison:
    """Two ways from the same image files to the probabilities.

    Attributes:
        first, second: what computed them.
        difference: the largest between two probabilities.
        relative: the largest between two logits, each divided by its temperature, by the largest of the first.
        agreement: share of images whose best class is the same.
        images: how many.
        same_input: whether both networks saw the same tensors, so that the logits must agree, too.
        reason: why the second is known to prepare images otherwise, although its format carries our preprocessing; or "".
        unexplained: the largest between two probabilities when our preprocessing does what `reason` says; None without one.
    """

    first: str
    second: str
    difference: float
    relative: float
    agreement: float
    images: int
    same_input: bool = True
    reason: str = ""
    unexplained: float | None = None

    def within(self, tolerance: float = TOLERANCE) -> bool:
        """Whether nothing is beyond its bound; see `excess`."""
        return not self.excess(tolerance)

    def excess(self, tolerance: float = TOLERANCE) -> str:
        """What is beyond its bound, in words with both figures; "" where nothing is. What is no number is beyond all.

        Where both networks saw the same tensors, no logit may differ by more than a hundredth of `tolerance`, as a share of
        the largest, and no probability by more than `tolerance`; where each side prepared the images itself, only the
        probabilities count, after what is known to differ.
        """
        exact = tolerance * EXACT / TOLERANCE
        difference = self.difference if self.unexplained is None else self.unexplained
        if self.same_input and not self.relative <= exact:
            return f"the networks differ: a logit by {self.relative:.2g} of the largest, the bound is {exact:.2g}"
        if not difference <= tolerance:
            what = "the networks differ" if self.same_input else "the preprocessing differs"
            how = f", {difference:.3g} of which is not explained" if self.unexplained is not None else ""
            return f"{what}: a probability by {self.difference:.3g}{how}, the bound is {tolerance:.3g}"
        return ""

    def __str__(self) -> str:
        how = "" if self.same_input else ", each with its own preprocessing"
        why = f"; {self.reason}, without which it is {self.unexplained:.2e}" if self.unexplained is not None else ""
        return (
            f"{self.first} against {self.second}: largest difference of probabilities {self.difference:.2e}, "
            f"of logits {self.relative:.1e} of the largest{how}; "
            f"top-1 agrees on {self.agreement:.2%} of {self.images:,} images{why}"
        )


@dataclass(frozen=True)
class Verification:
    """All comparisons with the first way, and what was assumed or left out on the way."""

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]

    def within(self, tolerance: float = TOLERANCE) -> bool:
        """Whether every comparison is; see `Comparison.within`."""
        return all(each.within(tolerance) for each in self.comparisons)


@dataclass(frozen=True, eq=False)
class _Way:
    name: str
    prepare: Prepare
    network: Callable[[Tensor], Tensor]
    temperature: float = 1.0
    reason: str = ""  # see `Comparison`
    explained: _Way | None = None  # ours, with the preprocessing that `reason` describes


def verify(
    a: str | Path,
    b: str | Path,
    *,
    images: Sequence[str] = (),
    request: Request | None = None,
    imgsz: int | None = None,
) -> Verification:
    """Compare two files of weights of any format, as read by us and, where it is installed, by the library of each.

    Args:
        a, b: files or folders; `request` says of both what they cannot say themselves.
        images: image files and folders; without any, some are made: noise of several shapes, as PNG files.
        imgsz: side of the network's input in pixels; where given, all sides are prepared by our preprocessing at this size.

    Raises:
        UserError: a file cannot be read, the two differ in classes or channels, or there are no images.
    """
    if request and request != Request() and all(is_ours(Path(path)) for path in (a, b)):
        raise UserError(
            "Both files are checkpoints of resnets, which say themselves what they are: leave out the rest."
        )
    sources = [(Path(path), load(path, _without_description(request, path))) for path in (a, b)]
    _check_alike(
        [(path, source.checkpoint.spec.in_channels, source.checkpoint.spec.num_classes) for path, source in sources]
    )
    notes: list[str] = []
    ways: list[_Way] = []
    for (path, source), (_, other) in zip(sources, reversed(sources), strict=True):
        preprocess = _preprocess(path, source, other, notes)
        if imgsz is not None:
            preprocess = preprocess.with_size(imgsz)
            notes.append(
                f"`imgsz={imgsz}`: resnets prepared all images, so that no library's own preprocessing was compared"
            )
        channels = source.checkpoint.spec.in_channels
        if channels != preprocess.channels:
            notes.append(f"{path.name} takes {channels} channels: those of each image are averaged or repeated")
        prepare = _prepared(preprocess, channels)
        net = checkpoints.network(source.checkpoint).float()
        ways.append(_Way(f"{path.name} by resnets", prepare, net, source.checkpoint.temperature))
        ways += _originals(path, source, ways[-1], notes, own=imgsz is None)
    with _image_files(images, max(sources[0][1].checkpoint.preprocess.size)) as files:
        comparisons = _compared(ways, files)
    return Verification(comparisons, tuple(dict.fromkeys(notes)))


def _check_alike(shapes: Sequence[tuple[Path, int, int]]) -> None:
    (a, *one), (b, *two) = shapes
    if one != two:
        words = " and ".join(f"{channels} channels, {classes} classes" for channels, classes in (one, two))
        raise UserError(f"'{a}' and '{b}' cannot be compared: {words}.")


def _without_description(request: Request | None, path: str | Path) -> Request | None:
    return None if is_ours(Path(path)) else request


def _preprocess(path: Path, source: Source, other: Source, notes: list[str]) -> Preprocess:
    """That of the file or, where it carries none, that of the other."""
    if source.carried or not other.carried:
        if not source.carried:
            notes.append(f"{path.name} holds no preprocessing: {source.checkpoint.preprocess.described()} is assumed")
        return source.checkpoint.preprocess
    notes.append(f"{path.name} holds no preprocessing: that of the other file was taken for it")
    return other.checkpoint.preprocess


def _prepared(preprocess: Preprocess, channels: int) -> Prepare:
    """Our way from a file to the tensor, (channels, h, w)."""

    def prepare(path: Path) -> Tensor:
        image = preprocess.load(path)
        if channels == len(image):
            return image
        return image.mean(0, keepdim=True) if channels == 1 else image[[i % len(image) for i in range(channels)]]

    return prepare


def _originals(path: Path, source: Source, ours: _Way, notes: list[str], *, own: bool) -> list[_Way]:
    """Beside `ours`, the library's own network on our tensors and, where the file carries one and `own` is asked for, behind
    the library's own preprocessing, so that what the two do differently is told apart. None, and a note, where it could not
    be had."""
    if source.foreign is None or source.format not in LIBRARIES:
        return []
    library, module = LIBRARIES[source.format], registry.find(source.format)
    try:
        net = module.original(source.foreign, source.checkpoint.spec)
        theirs = module.prepared(path) if own and source.carried and hasattr(module, "prepared") else None
    except ImportError:
        notes.insert(
            0, f"{library} is not installed, so its own network was not run beside ours: pip install {library}"
        )
        return []
    except UserError as error:
        notes.insert(0, f"{library}'s own network was not run: {error}")
        return []
    name = f"{path.name} by {library} {importlib.metadata.version(library)}"
    ways = [_Way(name, ours.prepare, net)]
    if theirs:
        # Those of timm are advice, which is followed here; timm prepares images as we do.
        known = module.remarks(source.checkpoint.preprocess) if source.format == "huggingface" else []
        explained = replace(ours, prepare=module.cropped(source.checkpoint.preprocess)) if known else None
        ways.append(_Way(f"{name} with its own preprocessing", theirs, net, 1.0, "; ".join(known), explained))
    return ways


def _compared(ways: Sequence[_Way], files: Sequence[Path]) -> tuple[Comparison, ...]:
    """Each way but the first with the first."""
    inputs_of_first, first = _run(ways[0], files)
    made = []
    for way in ways[1:]:
        inputs, found = _run(way, files)
        same = all(
            one.shape == other.shape and torch.allclose(one, other, atol=1e-5)
            for one, other in zip(inputs_of_first, inputs, strict=True)
        )
        unexplained = None if same or way.explained is None else _difference(_run(way.explained, files)[1], found)
        made.append(
            Comparison(
                ways[0].name,
                way.name,
                _difference(first, found),
                ((first - found).abs().max() / first.abs().max()).item(),
                (first.argmax(1) == found.argmax(1)).float().mean().item(),
                len(first),
                same,
                way.reason,
                unexplained,
            )
        )
    return tuple(made)


def _run(way: _Way, files: Sequence[Path]) -> tuple[list[Tensor], Tensor]:
    """What the network sees, in batches, and its logits over the temperature, (N, classes)."""
    inputs, logits = [], []
    for start in range(0, len(files), BATCH):
        inputs.append(torch.stack([way.prepare(path) for path in files[start : start + BATCH]]))
        with torch.inference_mode():
            try:
                logits.append(way.network(inputs[-1]).float() / way.temperature)
            except ValueError as error:  # an image that is too small for the network
                raise UserError(f"{way.name}: {error}") from None
    return inputs, torch.cat(logits)


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest between two probabilities."""
    return (one.softmax(1) - other.softmax(1)).abs().max().item()


@contextlib.contextmanager
def _image_files(given: Sequence[str], side: int) -> Iterator[list[Path]]:
    """The files that are named or, without names, made ones: soft noise, of several shapes around `side`."""
    if given:
        found = [path for name in given for path in _files(Path(name))]
        if not found:
            raise UserError(f"There are no images in {', '.join(given)}.")
        yield found
        return
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="resnets-") as folder:
        made = []
        for number, (height, width) in enumerate(SHAPES):
            coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
            made.append(Path(folder) / f"{number}.png")
            coarse.resize((round(width * side), round(height * side)), Image.Resampling.BICUBIC).save(made[-1])
        yield made


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UserError(f"There is no image and no folder '{path}'.")
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
    return [path]
