"""Measure how often the 95 % interval that a run prints holds the true accuracy of the model that it delivers.

    python tests/soak/coverage.py --trials 2000 --counts 60,360,734

A trial is a run of 50 epochs without a test split, of which only the logits of the val split are invented; all that
follows is the program's own: the rule by which an epoch is chosen, the folds, their temperatures, the interval, and the
words in which the report shows it, from which the two ends are read back.

The images are drawn at random from a world in which a tenth of all images is contested: whether a contested image is
right is drawn anew in each epoch, with the same probability for all of them, q(e). The other images are right in every
epoch (a share that is drawn for each trial, 60 to 95 %) or wrong in every epoch. The true accuracy of epoch e on new
images of that world is therefore 0.9 * share + 0.1 * q(e), and that of the delivered model is the true accuracy of the
epoch that all images of the val split together choose. Kinds of q(e), which the epochs differ by:

    uneven     uniform between 0.3 and 0.7, anew for each epoch
    equal      0.5: no epoch is truly better, so that all that chooses is chance (the hardest)
    learning   rises to 0.8, with noise

Printed for each kind and count: the coverage of the plain Wilson interval on the images used to select the epoch, how much
that accuracy is above the true one, the same two of the cross-fitted headline, and the mean width of both intervals.
The exit code is 1 when a coverage of the headline is not between 93 and 97 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from resnets.report.run_files import RunFiles
from resnets.tasks.best_epoch import is_better
from resnets.tasks.classification.confidence_intervals import wilson
from resnets.tasks.classification.report import report_content, report_text
from resnets.tasks.classification.task import Classification
from resnets.tasks.measurements import Measurements
from resnets.training.evaluation import cross_fitting

EPOCHS, CLASSES, CONTESTED = 50, 3, 0.1
KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "uneven": lambda random: random.uniform(0.3, 0.7, EPOCHS),
    "equal": lambda random: np.full(EPOCHS, 0.5),
    "learning": lambda random: np.clip(
        0.8 * (1 - np.exp(-np.arange(EPOCHS) / 12)) + random.normal(0, 0.05, EPOCHS), 0, 1
    ),
}
LEAST, MOST = 0.93, 0.97


class Trial(NamedTuple):
    """The true accuracy of the delivered model, what was measured and printed of it, and what a plain interval says."""

    true: float
    selected: float
    plain: tuple[float, float]
    headline: float
    printed: tuple[float, float]


def trial(random: np.random.Generator, kind: str, count: int, copies: int = 1) -> Trial:
    """One run of `EPOCHS` epochs with a val split of `count` different images, each of them `copies` times."""
    fraction, chances = random.uniform(0.6, 0.95), KINDS[kind](random)
    contested = random.random(count) < CONTESTED
    steady = random.random(count) < fraction
    labels = torch.from_numpy(random.integers(0, CLASSES, count))
    rows = torch.arange(count)
    folds = cross_fitting.create(list(map(str, labels.repeat(copies).tolist())), np.tile(np.arange(count), copies))
    assert folds is not None
    task = Classification(tuple(map(str, range(CLASSES))))
    best, best_epoch, rights = None, -1, []
    for epoch, chance in enumerate(chances):
        correct = np.where(contested, random.random(count) < chance, steady)
        answers = (labels + torch.from_numpy(np.where(correct, 0, random.integers(1, CLASSES, count)))) % CLASSES
        logits = torch.from_numpy(random.normal(0, 1, (count, CLASSES)).astype(np.float32))
        logits[rows, answers] = logits.amax(dim=1) + torch.from_numpy(random.exponential(2, count).astype(np.float32))
        measured = Measurements({"logits": logits.repeat(copies, 1), "true": labels.repeat(copies)})
        folds.update(epoch + 1, task, measured)
        score = task.score(task.validation_metrics(measured))
        if is_better(score, best):
            best, best_epoch = score, epoch
        rights.append(int(correct.sum()))
    figures = folds.summarize(task)
    true = (1 - CONTESTED) * fraction + CONTESTED * chances[best_epoch]
    return Trial(
        true, rights[best_epoch] / count, wilson(rights[best_epoch], count), figures["top1"], _printed(figures)
    )


def _printed(figures: dict[str, Any]) -> tuple[float, float]:
    """Both ends of the interval as the report shows them, with one decimal of a per cent."""
    files = RunFiles(Path("run"))
    files.metrics = {**figures, "split": "val"}
    accuracy = next(number for number in report_content.key_numbers(files) if number.name == "accuracy (top-1)")
    low, high = (float(end.removesuffix(" %")) / 100 for end in accuracy.note.split(" to "))
    assert report_text.headline(files, None)[0].startswith("Of 1")
    return low, high


class Result(NamedTuple):
    """Shares of 1: coverage, bias and mean width, of the plain interval on the selection images and of the headline."""

    plain: float
    plain_bias: float
    plain_width: float
    headline: float
    headline_bias: float
    headline_width: float


def simulate(kind: str, count: int, trials: int, seed: int = 0, copies: int = 1) -> Result:
    """`trials` runs, always the same ones for the same arguments."""
    random = np.random.default_rng([seed, count, list(KINDS).index(kind)])
    results = [trial(random, kind, count, copies) for _ in range(trials)]
    true = np.array([each.true for each in results])
    found = []
    for fraction, interval in (("selected", "plain"), ("headline", "printed")):
        ends = np.array([getattr(each, interval) for each in results])
        covered = (ends[:, 0] <= true) & (true <= ends[:, 1])
        bias = np.array([getattr(each, fraction) for each in results]) - true
        found += [covered.mean(), bias.mean(), (ends[:, 1] - ends[:, 0]).mean()]
    return Result(*map(float, found))


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="for each kind and count")
    parser.add_argument("--counts", default="60,360,734", help="different images of the val split")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--copies", type=int, default=1, help="of each image")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    good = True
    for kind in asked.kinds.split(","):
        for count in map(int, asked.counts.split(",")):
            start = time.monotonic()
            found = simulate(kind, count, asked.trials, asked.seed, asked.copies)
            good = good and LEAST <= found.headline <= MOST
            print(
                f"{kind:9} {count:4} images: on the selection images {found.plain:.1%} covered, {found.plain_bias:+.2%} "
                f"too good, width {found.plain_width:.1%}; headline {found.headline:.1%} covered, "
                f"{found.headline_bias:+.2%}, width {found.headline_width:.1%}  ({time.monotonic() - start:.0f} s)",
                flush=True,
            )
    return 0 if good else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
