"""How good a run is on images that chose nothing, although it has no test split: cross-fitting over the val split.

The epoch whose weights are kept, and their temperature, are chosen by the images of the val split, so that the accuracy
on these images is flattered: by 1 to 4 points where a tenth of them are answered differently from epoch to epoch. So the
val split is divided into five folds; exact copies of an image, and the images of one group, are in the same one. For each
fold the other four choose an epoch, by the rule of the run itself (`selection`), and fit a temperature to the logits of
that epoch (`calibration.fit_temperatures`). The images of the fold chose neither, and are judged by both. All folds together
are the headline of the run.

The choice is made while the run goes on, as that of the best weights is: what stands here is, for each fold, what would
have been kept if the run ended now. So no epoch has to be remembered: the memory is a few numbers for each image, whatever
the number of epochs and classes, and the logits of an epoch are needed only while it is taken in. Where no fold chooses an
epoch it costs next to nothing, and otherwise some twenty passes over its logits for the temperatures.

What is judged is the way by which the delivered weights came about, with four fifths of the val split in the place of
all of it; when to stop the training (patience) was decided with all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from resnets.tasks.classification import metrics, per_image_results
from resnets.tasks.classification.calibration import fit_temperatures
from resnets.tasks.classification.confidence_intervals import cross_fitted, design_effect
from resnets.tasks.classification.per_image_results import Outcomes
from resnets.training.evaluation import best_checkpoint
from resnets.training.evaluation.best_checkpoint import Score

FOLDS = 5


@dataclass
class CrossFit:
    """What each fold's images are worth by the choice of the others, after the epochs that were taken in.

    folds: int64 (N,), the fold of each image of the val split.
    units: int64 (N,), the same number for images that are copies of each other or of one group.
    best, epochs, temperatures: for each fold, the score that the images of the other folds gave to the epoch that they
        chose, its number from 1, and the temperature that they fitted.
    right: bool (F, N), which images are right in the epoch that was chosen for each fold.
    held: of each image what the choice for its own fold makes of it, (N,).
    taken: how many epochs were taken in.
    """

    folds: np.ndarray
    units: np.ndarray
    best: list[Score]
    epochs: list[int]
    temperatures: list[float]
    right: np.ndarray
    held: Outcomes
    taken: int = 0

    def take(self, epoch: int, logits: Tensor, labels: Tensor) -> None:
        """Take in an epoch, numbered from 1, by its logits (N, K) in float32 for images of the classes `labels` (N,)."""
        self.taken += 1
        answers, true = logits.numpy(), labels.numpy()
        right = answers.argmax(axis=1) == true
        losses = cross_entropy(logits, labels, reduction="none").double().numpy()
        of_each = [np.bincount(self.folds, values, len(self.best)) for values in (np.ones(len(true)), right, losses)]
        counts, rights, lost = (values.sum() - values for values in of_each)  # of the other folds
        scores = [best_checkpoint.score(*of_fold) for of_fold in zip(rights / counts, lost / counts, strict=True)]
        gained = [fold for fold, score in enumerate(scores) if best_checkpoint.is_better(score, self.best[fold])]
        temperatures = fit_temperatures(answers, true, self.folds, len(self.best)) if gained else []
        for fold in gained:
            own, score, temperature = self.folds == fold, scores[fold], temperatures[fold]
            self.best[fold], self.epochs[fold], self.temperatures[fold] = score, epoch, temperature
            self.right[fold] = right
            found = per_image_results.measured(answers[own], true[own], temperature)
            for each in fields(Outcomes):
                getattr(self.held, each.name)[own] = getattr(found, each.name)

    def figures(self, classes: int) -> dict[str, Any]:
        """As `metrics.summarize`, of all folds together; the intervals of the shares are those of `cross_fitted`.

        `top5_interval` is widened by the disagreement of the top-1 answers of the chosen epochs, which is the larger one in
        almost every case: top-5 answers are not remembered. There is no `ece_interval`, since what ties the folds to each
        other would widen it by an amount that is not known. `temperature` is the mean over the folds, `units` is the number
        of units, and `folds` says what each fold chose.
        """
        found = metrics.figures(self.held, classes, float(np.mean(self.temperatures)))
        found |= {"ece_interval": None, "units": len(np.unique(self.units))}
        for name, first in (("top1", 1), ("top5", found["top5_of"])):
            right = self.held.place < first
            effect = design_effect(right, self.units)
            found[f"{name}_interval"] = list(cross_fitted(int(right.sum()), self.right, effect))
        return found | {"folds": {"epochs": list(self.epochs), "temperatures": list(self.temperatures)}}

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As tensors and as JSON can hold it; the inverse of `restored`."""
        arrays = {"folds": self.folds, "units": self.units, "right": self.right}
        arrays |= {f"held.{each.name}": getattr(self.held, each.name) for each in fields(Outcomes)}
        facts = {"best": self.best, "epochs": self.epochs, "temperatures": self.temperatures, "taken": self.taken}
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, facts


def create(labels: Tensor, units: np.ndarray) -> CrossFit | None:
    """Folds for the images of the val split, before the first epoch; None for fewer than 2 units.

    Whole units are dealt to the folds, class by class (the class of a unit is that of its first image) and the larger ones
    first, so that each class is in all folds if it has enough units. The same arguments give the same folds.

    Args:
        labels: int64 (N,), the classes.
        units: int64 (N,), the same number for images that must not be torn apart, such as exact copies.
    """
    count = len(labels)
    _, firsts, members, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    if len(firsts) < 2:
        return None
    order = np.random.default_rng(0).permutation(len(firsts))
    order = order[np.lexsort((-sizes[order], labels.numpy()[firsts][order]))]
    number = min(FOLDS, len(firsts))
    fold_of_unit = np.empty(len(firsts), dtype=np.int64)
    fold_of_unit[order] = np.arange(len(firsts)) % number
    folds = fold_of_unit[members]
    nothing = per_image_results.measured(np.zeros((count, 1), dtype=np.float32), np.zeros(count, dtype=np.int64), 1.0)
    right = np.zeros((number, count), dtype=bool)
    return CrossFit(folds, units, [best_checkpoint.WORST_SCORE] * number, [0] * number, [1.0] * number, right, nothing)


def restore(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> CrossFit:
    """What `Crossfit.saved` gave."""
    arrays = {name: tensor.numpy().copy() for name, tensor in tensors.items()}
    held = Outcomes(*(arrays[f"held.{each.name}"] for each in fields(Outcomes)))
    best = [(accuracy, loss) for accuracy, loss in facts["best"]]
    lists = list(facts["epochs"]), list(facts["temperatures"])
    return CrossFit(arrays["folds"], arrays["units"], best, *lists, arrays["right"], held, facts["taken"])
