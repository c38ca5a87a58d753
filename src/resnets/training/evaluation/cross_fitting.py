"""Cross-fitting over the validation split: the accuracy of a run on images that were not used to select its epoch or temperature.

The epoch whose weights are saved as the best, and their temperature, are selected on the val split, so that the accuracy on these
images is too high: by 1 to 4 points where a tenth of them is predicted differently from epoch to epoch. For a run without a
test split the val split is therefore divided into five folds; exact copies of an image, and the images of one group, are in
the same fold. For each fold an epoch is selected on the images of the other four, by the rule of the run itself
(`epoch_selection`), and a temperature is fitted to their logits of that epoch (`calibration.fit_temperatures`). The fold is
evaluated with both.
All folds together are the headline of the run.

The selection is updated after each epoch, as that of the best weights is: `CrossFit` holds, for each fold, what would be
selected if the run ended now. Its memory is a few numbers per image, whatever the number of epochs and classes. An epoch that
is selected for a fold costs some twenty passes over its logits for the temperatures, any other next to nothing.

What is evaluated is the procedure that made the delivered weights, with four fifths of the val split in place of all of it;
when to stop the training (patience) was decided with all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from resnets.tasks import epoch_selection
from resnets.tasks.classification import metrics, per_image_results
from resnets.tasks.classification.calibration import fit_temperatures
from resnets.tasks.classification.confidence_intervals import cross_fitted, design_effect
from resnets.tasks.classification.per_image_results import PerImageResults
from resnets.tasks.epoch_selection import Score

FOLDS = 5


@dataclass
class CrossFit:
    """The predictions on each fold with the epoch and temperature selected on the other folds, after the epochs so far.

    folds: int64 (N,), the fold of each image of the val split.
    clusters: int64 (N,), the same number for images that are copies of each other or of one group.
    best, epochs, temperatures: for each fold, the score of the epoch selected on the images of the other folds, its number
        from 1, and the temperature fitted there.
    correct: bool (F, N), which images are predicted correctly in the epoch that was selected for each fold.
    outcomes: the results of each image (N,) with the epoch and temperature of its own fold.
    num_epochs: the number of epochs so far.
    """

    folds: np.ndarray
    clusters: np.ndarray
    best: list[Score]
    epochs: list[int]
    temperatures: list[float]
    correct: np.ndarray
    outcomes: PerImageResults
    num_epochs: int = 0

    def update(self, epoch: int, logits: Tensor, labels: Tensor) -> None:
        """Add an epoch, numbered from 1, by its logits (N, K) in float32 for images of the classes `labels` (N,)."""
        self.num_epochs += 1
        logits_array, true = logits.numpy(), labels.numpy()
        correct = logits_array.argmax(axis=1) == true
        losses = cross_entropy(logits, labels, reduction="none").double().numpy()
        sums = [np.bincount(self.folds, values, len(self.best)) for values in (np.ones(len(true)), correct, losses)]
        counts, num_correct, total_loss = (values.sum() - values for values in sums)  # of the other folds
        means = zip(num_correct / counts, total_loss / counts, strict=True)
        scores = [epoch_selection.score(accuracy, loss) for accuracy, loss in means]
        improved = [fold for fold, score in enumerate(scores) if epoch_selection.is_better(score, self.best[fold])]
        temperatures = fit_temperatures(logits_array, true, self.folds, len(self.best)) if improved else []
        for fold in improved:
            in_fold, score, temperature = self.folds == fold, scores[fold], temperatures[fold]
            self.best[fold], self.epochs[fold], self.temperatures[fold] = score, epoch, temperature
            self.correct[fold] = correct
            outcomes = per_image_results.from_logits(logits_array[in_fold], true[in_fold], temperature)
            for field in fields(PerImageResults):
                getattr(self.outcomes, field.name)[in_fold] = getattr(outcomes, field.name)

    def summarize(self, num_classes: int) -> dict[str, Any]:
        """Return the metrics of all folds together, as `metrics.summarize`, with the intervals of `cross_fitted`.

        `top5_interval` is widened by the disagreement of the top-1 predictions of the selected epochs, which is larger than that
        of the top-5 predictions in almost every case; those are not stored. There is no `ece_interval`, since the dependence
        between the folds would widen it by an unknown amount. `temperature` is the mean over the folds, `num_clusters` the number
        of clusters, and `folds` lists what was selected for each fold.
        """
        summary = metrics.summarize_results(self.outcomes, num_classes, float(np.mean(self.temperatures)))
        summary |= {"ece_interval": None, "num_clusters": len(np.unique(self.clusters))}
        for name, k in (("top1", 1), ("top5", summary["top5_of"])):
            correct = self.outcomes.rank < k
            effect = design_effect(correct, self.clusters)
            summary[f"{name}_interval"] = list(cross_fitted(int(correct.sum()), self.correct, effect))
        return summary | {"folds": {"epochs": list(self.epochs), "temperatures": list(self.temperatures)}}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything as tensors and as values for JSON; `restore` is the inverse."""
        arrays = {"folds": self.folds, "clusters": self.clusters, "correct": self.correct}
        arrays |= {f"outcomes.{field.name}": getattr(self.outcomes, field.name) for field in fields(PerImageResults)}
        metadata = {"best": self.best, "epochs": self.epochs, "temperatures": self.temperatures}
        metadata["num_epochs"] = self.num_epochs
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, metadata


def create(labels: Tensor, clusters: np.ndarray) -> CrossFit | None:
    """Divide the val split into folds, before the first epoch; return None for fewer than 2 clusters.

    Whole clusters are assigned to the folds in turn, class by class (the class of a cluster is that of its first image) and the
    larger ones first, so that each class is in all folds if it has enough clusters. The same arguments give the same folds.

    Args:
        labels: int64 (N,), the classes.
        clusters: int64 (N,), the same number for images that must be in the same fold, such as exact copies.
    """
    count = len(labels)
    _, firsts, members, sizes = np.unique(clusters, return_index=True, return_inverse=True, return_counts=True)
    if len(firsts) < 2:
        return None
    order = np.random.default_rng(0).permutation(len(firsts))
    order = order[np.lexsort((-sizes[order], labels.numpy()[firsts][order]))]
    num_folds = min(FOLDS, len(firsts))
    fold_of_cluster = np.empty(len(firsts), dtype=np.int64)
    fold_of_cluster[order] = np.arange(len(firsts)) % num_folds
    folds = fold_of_cluster[members]
    empty = per_image_results.from_logits(np.zeros((count, 1), dtype=np.float32), np.zeros(count, dtype=np.int64), 1.0)
    correct = np.zeros((num_folds, count), dtype=bool)
    return CrossFit(
        folds, clusters, [epoch_selection.WORST_SCORE] * num_folds, [0] * num_folds, [1.0] * num_folds, correct, empty
    )


def restore(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> CrossFit:
    """Return the CrossFit whose `state` this is."""
    arrays = {name: tensor.numpy().copy() for name, tensor in tensors.items()}
    outcomes = PerImageResults(*(arrays[f"outcomes.{field.name}"] for field in fields(PerImageResults)))
    best = [(accuracy, loss) for accuracy, loss in metadata["best"]]
    lists = list(metadata["epochs"]), list(metadata["temperatures"])
    return CrossFit(
        arrays["folds"], arrays["clusters"], best, *lists, arrays["correct"], outcomes, metadata["num_epochs"]
    )
