"""Whether two files of weights compute the same: the same pictures through both, and through the original library."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from resnets.data.decode import SUFFIXES
from resnets.errors import UserError
from resnets.weights import checkpoint as checkpoints
from resnets.weights import formats
from resnets.weights.conversion import Request, Source, load

TOLERANCE = 1e-4  # of the largest logit, in float32
NOISE = 8  # pictures of noise where none are given
BATCH = 16
LIBRARIES = {"torchvision": "torchvision", "timm": "timm", "huggingface": "transformers", "keras": "keras"}


@dataclass(frozen=True)
class Comparison:
    """Two ways to the logits of the same pictures.

    Attributes:
        first, second: what computed them.
        difference: the largest between two logits.
        relative: `difference` by the largest logit of the first.
        agreement: share of pictures whose best class is the same.
        pictures: how many.
    """

    first: str
    second: str
    difference: float
    relative: float
    agreement: float
    pictures: int

    def __str__(self) -> str:
        return (
            f"{self.first} against {self.second}: largest difference of logits {self.difference:.2e} "
            f"({self.relative:.1e} of the largest), top-1 agrees on {self.agreement:.2%} of {self.pictures:,} pictures"
        )


@dataclass(frozen=True)
class Verification:
    """All comparisons with the first way, and why a library was not among the ways."""

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]

    def within(self, tolerance: float = TOLERANCE) -> bool:
        """Whether every difference is at most `tolerance` of the largest logit; one that is no number is not."""
        return all(each.relative <= tolerance for each in self.comparisons)


def verify(
    a: str | Path,
    b: str | Path,
    *,
    pictures: Sequence[str] = (),
    request: Request | None = None,
    imgsz: int | None = None,
) -> Verification:
    """Compare two files of weights of any format, as read by us and, where it is installed, by the library of each.

    Args:
        a, b: files; `request` says of both what they cannot say themselves.
        pictures: files and folders; without any, `NOISE` pictures of noise.
        imgsz: side of the pictures in pixels; that of `a`'s preprocessing when None.

    Raises:
        UserError: a file cannot be read, the two differ in classes or channels, or there are no pictures.
    """
    ways: list[tuple[str, Callable[[Tensor], Tensor]]] = []
    notes: list[str] = []
    shapes = set()
    batches: list[Tensor] = []
    for path in (a, b):
        source = load(path, _without_description(request, path))
        shapes.add((source.checkpoint.spec.in_channels, source.checkpoint.spec.classes))
        if not batches:
            batches = _batches(source, pictures, imgsz)
        ways.append((f"{Path(path).name} by resnets", checkpoints.network(source.checkpoint).float()))
        original, note = _original(source)
        if original is not None:
            ways.append((f"{Path(path).name} by {note}", original))
        elif note:
            notes.append(note)
    if len(shapes) > 1:
        words = " and ".join(f"{channels} channels, {classes} classes" for channels, classes in sorted(shapes))
        raise UserError(f"'{a}' and '{b}' cannot be compared: {words}.")
    logits = [(name, torch.cat([_logits(way, batch) for batch in batches])) for name, way in ways]
    first, wanted = logits[0]
    return Verification(tuple(_compare(first, wanted, name, found) for name, found in logits[1:]), tuple(notes))


def _without_description(request: Request | None, path: str | Path) -> Request | None:
    from resnets.weights.inspection import is_ours

    return None if is_ours(Path(path)) else request


def _original(source: Source) -> tuple[Callable[[Tensor], Tensor] | None, str]:
    """The library's own network with its name and version, or None and why not."""
    if source.foreign is None or source.format not in LIBRARIES:
        return None, ""
    library = LIBRARIES[source.format]
    try:
        net = formats.find(source.format).original(source.foreign, source.checkpoint.spec)
        return net, f"{library} {importlib.metadata.version(library)}"
    except ImportError:
        return None, f"{library} is not installed, so its own network was not run beside ours: pip install {library}"
    except UserError as error:
        return None, f"{library}'s own network was not run: {error}"


def _batches(source: Source, pictures: Sequence[str], imgsz: int | None) -> list[Tensor]:
    checkpoint = source.checkpoint
    preprocess = checkpoint.preprocess if imgsz is None else checkpoint.preprocess.at(imgsz)
    if not pictures:
        generator = torch.Generator().manual_seed(0)
        return [torch.randn(NOISE, checkpoint.spec.in_channels, *preprocess.size, generator=generator)]
    paths = [path for name in pictures for path in _files(Path(name))]
    if not paths:
        raise UserError(f"There are no pictures in {', '.join(pictures)}.")
    return [
        torch.stack([preprocess.load(path) for path in paths[start : start + BATCH]])
        for start in range(0, len(paths), BATCH)
    ]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UserError(f"There is no picture and no folder '{path}'.")
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
    return [path]


def _logits(way: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    with torch.inference_mode():
        return way(batch).float()


def _compare(first: str, wanted: Tensor, second: str, found: Tensor) -> Comparison:
    difference = (found - wanted).abs().max().item()
    largest = wanted.abs().max().item()
    agreement = (found.argmax(1) == wanted.argmax(1)).float().mean().item()
    relative = difference / largest if largest > 0 else difference
    return Comparison(first, second, difference, relative, agreement, len(wanted))
