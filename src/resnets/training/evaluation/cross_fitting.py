"""Cross-fitting over the validation split: the metrics of a run on examples that were not used to select its epoch or to fit.

The epoch whose weights are saved as the best, and what the task fits (a temperature, thresholds), are selected on the val
split, so that the metrics on these examples are too good: an accuracy by 1 to 4 points where a tenth of the images is predicted
differently from epoch to epoch. For a run without a test split the val split is therefore divided into five folds; exact
copies of an image, and the images of one group, are in the same fold. For each fold an epoch is selected on the examples of the
other four, by the rule of the run itself (`Task.monitor`), and the task is fitted to them in that epoch (`Task.fit_folds`). The
fold is evaluated with both. All folds together are the headline of the run.

The selection is updated after each epoch, as that of the best weights is: `CrossFit` holds, for each fold, what would be
selected if the run ended now. Its memory is what the task keeps of each example, whatever the number of epochs.

What is evaluated is the procedure that made the delivered weights, with four fifths of the val split in place of all of it;
when to stop the training (patience) was decided with all of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnets.tasks.base import CrossFitted, Task
from resnets.tasks.best_epoch import Score, is_better
from resnets.tasks.measurements import Measurements, concatenate

FOLDS = 5


@dataclass
class CrossFit:
    """The rows of each fold in the epoch selected on the other folds, after the epochs so far."""

    folds: np.ndarray  # int64 (N,), the fold of each example of the val split
    clusters: np.ndarray  # int64 (N,), the same number for images that are copies of each other or of one group
    # For each fold, the score of the epoch selected on the examples of the other folds; None before the first.
    best: list[Score | None]
    epochs: list[int]  # the number of that epoch, from 1, and what the task fitted there
    fitted: list[dict[str, Any]]  # the number of that epoch, from 1, and what the task fitted there
    # Float64 (F, N), `Task.example_scores` of all examples in the epoch that was selected for each fold.
    scores: np.ndarray
    # For each fold, what `Task.keep` returned for its own examples.
    kept: list[Measurements | None] = field(default_factory=list)
    num_epochs: int = 0  # the number of epochs so far

    def update(self, epoch: int, task: Task, measurements: Measurements) -> None:
        """Add an epoch, numbered from 1, by the measurements of the val split."""
        self.num_epochs += 1
        scores = [
            task.score(task.validation_metrics(measurements.select(self.folds != fold)))
            for fold in range(len(self.best))
        ]
        improved = [fold for fold, score in enumerate(scores) if is_better(score, self.best[fold])]
        fitted = task.fit_folds(measurements, self.folds, len(self.best)) if improved else []
        for fold in improved:
            own = task.with_fitted(fitted[fold])
            self.best[fold], self.epochs[fold], self.fitted[fold] = scores[fold], epoch, fitted[fold]
            self.scores[fold] = own.example_scores(measurements)
            self.kept[fold] = own.keep(measurements.select(self.folds == fold))

    def summarize(self, task: Task) -> dict[str, Any]:
        """The metrics of all folds together, as `Task.summarize`; `folds` lists what was selected for each fold."""
        rows = concatenate([kept for kept in self.kept if kept is not None])
        order = np.argsort(np.concatenate([np.flatnonzero(self.folds == fold) for fold in range(len(self.best))]))
        summary = task.summarize(rows.select(order), CrossFitted(self.scores, self.clusters))
        return summary | {"folds": {"epochs": list(self.epochs), "fitted": list(self.fitted)}}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything as tensors and as values for JSON; `restore` is the inverse."""
        arrays = {"folds": self.folds, "clusters": self.clusters, "scores": self.scores}
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        lists: dict[str, Any] = {}
        for fold, kept in enumerate(self.kept):
            for name, rows in kept.rows.items() if kept is not None else ():
                key = f"kept.{fold}.{name}"
                if isinstance(rows, Tensor):
                    tensors[key] = rows
                else:
                    parts = [torch.as_tensor(row) for row in rows]  # as one tensor: there may be many thousands
                    tensors[key] = torch.cat([part.flatten() for part in parts]) if parts else torch.zeros(0)
                    lists[key] = [list(part.shape) for part in parts]
        metadata = {"best": self.best, "epochs": self.epochs, "fitted": self.fitted, "lists": lists}
        return tensors, metadata | {"num_epochs": self.num_epochs}


def create(strata: list[str], clusters: np.ndarray) -> CrossFit | None:
    """Divide the val split into folds, before the first epoch; return None for fewer than 2 clusters.

    Whole clusters are assigned to the folds in turn, stratum by stratum (that of a cluster is that of its first image) and the
    larger ones first, so that each class is in all folds if it has enough clusters. The same arguments give the same folds.

    Args:
        strata: (N,), such as the classes.
        clusters: int64 (N,), the same number for images that must be in the same fold, such as exact copies.
    """
    _, firsts, members, sizes = np.unique(clusters, return_index=True, return_inverse=True, return_counts=True)
    if len(firsts) < 2:
        return None
    order = np.random.default_rng(0).permutation(len(firsts))
    numbers = np.unique(np.array(strata, dtype=object), return_inverse=True)[1]
    order = order[np.lexsort((-sizes[order], numbers[firsts][order]))]
    num_folds = min(FOLDS, len(firsts))
    fold_of_cluster = np.empty(len(firsts), dtype=np.int64)
    fold_of_cluster[order] = np.arange(len(firsts)) % num_folds
    return CrossFit(
        fold_of_cluster[members],
        clusters,
        [None] * num_folds,
        [0] * num_folds,
        [{} for _ in range(num_folds)],
        np.zeros((num_folds, len(clusters))),
        [None] * num_folds,
    )


def restore(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> CrossFit:
    """Return the CrossFit whose `state` this is."""
    rows: list[dict[str, Any]] = [{} for _ in metadata["epochs"]]
    for key, tensor in tensors.items():
        if key.startswith("kept."):
            _, fold, name = key.split(".", 2)
            rows[int(fold)][name] = tensor
    for key, shapes in metadata["lists"].items():
        _, fold, name = key.split(".", 2)
        parts = rows[int(fold)][name].split([math.prod(shape) for shape in shapes])
        rows[int(fold)][name] = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    arrays = {name: tensors[name].numpy().copy() for name in ("folds", "clusters", "scores")}
    return CrossFit(
        arrays["folds"],
        arrays["clusters"],
        [None if best is None else tuple(best) for best in metadata["best"]],
        list(metadata["epochs"]),
        list(metadata["fitted"]),
        arrays["scores"],
        [Measurements(each) if each else None for each in rows],
        metadata["num_epochs"],
    )
