"""Check a dataset: find what would make training fail, or its result wrong, before training starts."""

import csv
import io
import itertools
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from resnets.data.check import check_file
from resnets.data.check.check_file import FileResult
from resnets.data.check.find_problems import find_problems
from resnets.data.check.problem_kinds import Problem
from resnets.data.datasets.dataset import SPLITS, Dataset, Sample
from resnets.data.image.decode import DecodeError
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.mask_datasets.image_mask import ImageMask, has_masks
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.message_format import pluralize
from resnets.progress import progress_bar

AHEAD = 64  # images that are read before the result of the first of them
SIDES = (32, 64, 128, 256, 512, 1024, 2048)  # limits of the histogram of shorter sides, in pixels


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        root: the data that was checked.
        images: number of image files.
        bytes: size of all files together.
        class_counts: number of images by class and split; the split is "" if nothing was split.
        problems: sorted by level: errors, warnings, notes.
        formats: number of images by file format.
        modes: number of images by color mode, by Pillow's names.
        sides: number of images by the range of their shorter side in pixels.
        sizes: smallest, median and largest (width, height) in pixels, each number by itself.
        masks: of images that have one, by their path; they are no part of the dictionary.
    """

    root: str
    images: int
    bytes: int
    class_counts: Mapping[str, Mapping[str, int]]
    problems: tuple[Problem, ...]
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    sides: Mapping[str, int]
    sizes: Mapping[str, tuple[int, int]]
    masks: Mapping[str, ImageMask] = field(default_factory=dict, repr=False)

    @property
    def has_errors(self) -> bool:
        """Whether training would fail, or its result would be wrong."""
        return self.count("error") > 0

    @property
    def summary(self) -> str:
        """The result in a sentence."""
        if self.has_errors:
            return (
                f"{pluralize(self.count('error'), 'kind')} of error: training would fail, or its result would be wrong."
            )
        return (
            "No errors; check the warnings before you train." if self.count("warning") else "No errors and no warnings."
        )

    def count(self, level: str) -> int:
        """The number of kinds of problem of the level `error`, `warning` or `note`."""
        return sum(problem.level == level for problem in self.problems)

    def to_dict(self) -> dict[str, object]:
        """Everything, as values for JSON."""
        problems = [{**vars(each), "findings": [case._asdict() for case in each.findings]} for each in self.problems]
        values = {name: value for name, value in vars(self).items() if name != "masks"}
        return {"has_errors": self.has_errors, "summary": self.summary, **values, "problems": problems}

    def to_json(self) -> str:
        """The same as ASCII text, which every stream can print; other characters are escaped."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_csv(self) -> str:
        """All cases as a table: a row for each image of each case, with the number of its object, if it is one, from 1."""
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("path", "object", "level", "fault", "note", "action"))
        for each in self.problems:
            for case in each.findings:
                rest = (case.object or "", each.level, each.title, case.note, each.advice)
                writer.writerows((path, *rest) for path in case.paths or ("",))
        return table.getvalue()


def check(
    dataset: Dataset,
    *,
    workers: int | None = None,
    faults: Sequence[AnnotationFault] = (),
    vectors: np.ndarray | None = None,
) -> CheckReport:
    """Read and decode every image, in parallel, and check the dataset as a whole.

    Args:
        workers: number of threads; one per CPU by default.
        faults: what was found in the annotations of its objects, or in its masks.
        vectors: float (N, D), of its samples in order, by which near duplicates are found; see `find_near_duplicates`.

    Returns:
        The problems that were found, and the counts of classes, formats and sizes.
    """
    paths = [sample.path for sample in dataset.samples]
    found = ordered_map(check_file.inspect_file, paths, workers=workers, ahead=AHEAD)
    results = list(progress_bar(found, description="checking", total=len(paths), unit="images"))
    readable = [result for result in results if result.info and not result.error]
    return CheckReport(
        root=str(dataset.root),
        images=len(results),
        bytes=sum(result.bytes for result in results),
        class_counts=_class_counts(dataset),
        problems=find_problems(dataset, results, faults, vectors),
        formats=_count(result.info.format for result in readable if result.info),
        modes=_count(result.info.mode for result in readable if result.info),
        sides=_sides(readable),
        sizes=_sizes(readable),
        masks={each.path: each.target for each in dataset.samples} if has_masks(dataset) else {},
    )


def verify_images(samples: Sequence[Sample]) -> list[tuple[str, DecodeError | None]]:
    """The SHA-256 of each image, and the error if it cannot be read: what training checks before it starts.

    Every image is decoded once, by threads: 0.7 ms of CPU time for a JPEG of 320x240 pixels.
    """
    results = ordered_map(check_file.verify_image, (sample.path for sample in samples), workers=None, ahead=AHEAD)
    return list(progress_bar(results, description="checking", total=len(samples), unit="images"))


def _class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    counts = Counter((name, sample.split or "") for sample in dataset.samples for name in set(sample.labels or ()))
    present = {sample.split or "" for sample in dataset.samples}
    splits = [split for split in ("", *SPLITS) if split in present]
    return {
        name: {split: counts[name, split] for split in splits}
        for name in (
            sorted({*dataset.class_names, *dataset.empty_classes}) if dataset.empty_classes else dataset.class_names
        )
    }


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _sides(readable: Sequence[FileResult]) -> dict[str, int]:
    shorter = np.array([min(each.size) for each in readable], dtype=int)
    counts = np.bincount(np.searchsorted(SIDES, shorter, side="right"), minlength=len(SIDES) + 1)
    names = [f"under {SIDES[0]}"]
    names += [f"{low} to {high - 1}" for low, high in itertools.pairwise(SIDES)]
    names += [f"{SIDES[-1]} and more"]
    return dict(zip(names, counts.tolist(), strict=True))


def _sizes(readable: Sequence[FileResult]) -> dict[str, tuple[int, int]]:
    if not readable:
        return {}
    widths, heights = zip(*(each.size for each in readable), strict=True)
    return {
        "smallest": (min(widths), min(heights)),
        "median": (statistics.median_low(widths), statistics.median_low(heights)),
        "largest": (max(widths), max(heights)),
    }
