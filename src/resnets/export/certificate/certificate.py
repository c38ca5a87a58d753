"""The certificate of an exported file: on what it was compared with its checkpoint, and what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnets.errors import JobError
from resnets.export.certificate.compare_outputs import ROUNDING_FACTOR, Difference
from resnets.export.certificate.proof_images import ProofImages
from resnets.message_format import pluralize

FORMAT = 1
KEY = "resnets_certificate"  # whose value is FORMAT
PASSED, REFUSED = "passed", "refused"
BATCHES = (1, 3, 16)
LAYOUTS = ("contiguous", "a view of another order of axes", "a slice of a larger array")


@dataclass(frozen=True)
class RuntimeProof:
    """What a runtime computed with the file.

    Attributes:
        precision: in which it computed.
        hints: the settings that it needs for that.
        differences: of each output; empty where it did not run.
        same_labels: of `count` computed images, those with the label of the checkpoint; None for outputs without labels.
        failure: why it could not compute the file.
        not_seen: why it was not tried.
        decides: whether the file is refused if it fails here; not for a precision that the runtime chooses.
    """

    name: str
    version: str
    precision: str = "f32"
    hints: Mapping[str, str] | None = None
    differences: tuple[Difference, ...] = ()
    count: int = 0
    same_labels: int | None = None
    failure: str = ""
    not_seen: str = ""
    decides: bool = True

    @property
    def verdict(self) -> str:
        return "not seen" if self.not_seen else REFUSED if self.failing else PASSED

    @property
    def failing(self) -> str:
        """What is wrong, with the number and its limit; empty if nothing is."""
        wrong = [each for each in self.differences if not each.within_limit]
        worst = max(wrong, key=lambda each: each.value / each.limit, default=None)
        return self.failure or (f"a difference of {worst} in {worst.where}" if worst else "")

    def __str__(self) -> str:
        hints = "".join(f" ({name}={value})" for name, value in (self.hints or {}).items())
        return " ".join(filter(None, (self.name, self.version, self.precision))) + hints

    def in_words(self) -> str:
        """The line that `resnets export` prints."""
        if self.not_seen:
            return f"{self}: not seen, {self.not_seen}"
        if self.failure:
            return f"{self}: {self.verdict}, {self.failure}"
        found = ", ".join(map(str, self.differences))
        labels = f", {self.same_labels} of {self.count} labels the same (each image in {len(LAYOUTS)} memory layouts)"
        return f"{self}: {self.verdict}; largest differences: {found}{'' if self.same_labels is None else labels}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "runtime": self.name, "version": self.version, "precision": self.precision, "hints": dict(self.hints or {}),
            "verdict": self.verdict, "decides": self.decides, "reason": self.not_seen or self.failing,
            "computed": self.count, "same_labels": self.same_labels, "outputs": [each.to_dict() for each in self.differences],
        }  # fmt: skip


@dataclass(frozen=True)
class MadeFault:
    """A fault that was made on purpose, and the output that differs most by it."""

    name: str
    seen: Difference

    def to_dict(self) -> dict[str, Any]:
        return {"fault": self.name, **self.seen.to_dict()}


@dataclass(frozen=True)
class Certificate:
    """What was compared and found.

    Attributes:
        path: of the exported file or folder.
        sha256: of each of its files by name.
        checkpoint: `file`, its name, and its `sha256`.
        preprocess: what the input of the file is.
        processor: `hardware.describe`.
        runtimes: those that read the format.
        reference: what computes the right outputs, `network`, and what resizes the images for it, `resizing`.
        rounding: of each output, what the rounding of float32 alone does to it; empty where no limit was raised by that.
        made_faults: faults that this comparison was tried with, and refused.
    """

    path: Path
    format: str
    sha256: Mapping[str, str]
    size_bytes: int
    checkpoint: Mapping[str, str]
    preprocess: str
    processor: Mapping[str, Any]
    images: ProofImages
    reference: Mapping[str, str]
    runtimes: tuple[RuntimeProof, ...]
    rounding: Mapping[str, float]
    made_faults: tuple[MadeFault, ...]
    versions: Mapping[str, str]

    @property
    def reason(self) -> str:
        """Why the file is refused, in one line; empty if it passed."""
        deciding = [each for each in self.runtimes if each.decides and not each.not_seen]
        if not deciding:
            return "no runtime computed it, so nothing is proved"
        return next((f"{each}: {each.failing}" for each in deciding if each.failing), "")

    @property
    def passed(self) -> bool:
        return not self.reason

    def written_to(self, path: Path) -> Certificate:
        """The same for a file of another name."""
        sha256 = {path.name if name == self.path.name else name: digest for name, digest in self.sha256.items()}
        return replace(self, path=path, sha256=sha256)

    def lines(self) -> Iterator[str]:
        """The lines that `resnets export` prints."""
        yield from (each.in_words() for each in self.runtimes)
        sizes = " and ".join((", ".join(map(str, BATCHES[:-1])), str(BATCHES[-1])))
        yield f"compared on {self.images.in_words()}, in batches of {sizes}, in {len(LAYOUTS)} memory layouts"
        yield f"reference: the checkpoint in {self.reference['network']}; images resized by {self.reference['resizing']}"
        if not self.images.yours:
            yield "these are not your images, and prove less: `images` takes a folder of yours"
        if self.rounding:
            changes = ", ".join(f"{name} by {value:.2g}" for name, value in self.rounding.items())
            yield f"limits are {ROUNDING_FACTOR} times what rounding in float32 changes, where that is more: {changes}"
        faults = ", ".join(f"{each.name} ({each.seen.output} {each.seen.value:.2g})" for each in self.made_faults)
        yield f"{pluralize(len(self.made_faults), 'fault')} made on purpose, all refused: {faults}"

    def to_dict(self) -> dict[str, Any]:
        """The content of the JSON file beside the exported one."""
        return {
            KEY: FORMAT, "verdict": PASSED if self.passed else REFUSED, "reason": self.reason,
            "file": self.path.name, "format": self.format, "sha256": dict(self.sha256), "checkpoint": dict(self.checkpoint),
            "preprocess": self.preprocess, "processor": dict(self.processor), "images": self.images.to_dict(),
            "reference": dict(self.reference),
            "batches": list(BATCHES), "layouts": list(LAYOUTS), "runtimes": [each.to_dict() for each in self.runtimes],
            "rounding_of_float32": dict(self.rounding),
            "refused_faults": [each.to_dict() for each in self.made_faults], "versions": dict(self.versions),
        }  # fmt: skip


class RefusedExportError(JobError):
    """An exported file whose outputs differ too much.

    Attributes:
        certificate: of the file.
    """

    def __init__(self, message: str, certificate: Certificate) -> None:
        super().__init__(message)
        self.certificate = certificate


def is_certificate(path: Path) -> bool:
    """Whether the file at `path` is a certificate of resnets."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and KEY in content
