"""The images whose heat maps are in the report of a multi-label run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from resnets.data.datasets.dataset import Sample
from resnets.report.figures import canvas
from resnets.report.figures.image_grid import file_caption
from resnets.tasks.heatmaps.report_figures import MAX_CLASSES, MAX_MISTAKES, Example
from resnets.tasks.multilabel.metrics import Labels

MAX_LABELS = 2  # of one image


def mistakes(
    samples: Sequence[Sample], labels: Labels, class_names: Sequence[str], worst: Sequence[int]
) -> list[Example]:
    """Of the `worst` images, by index, those with a wrong label, with the maps of the labels that are missed (–) or added (+)."""
    found = []
    for k in worst:
        wrong = np.flatnonzero(labels.true[k] != labels.predicted[k])
        if not len(wrong):
            continue
        logits = np.abs(labels.logits[k, wrong])
        chosen = wrong[np.argsort(-logits, kind="stable")[:MAX_LABELS]].tolist()
        maps = [(class_names[c], f"{'–' if labels.true[k, c] else '+'} {class_names[c]}", canvas.WRONG) for c in chosen]
        found.append(Example(samples[k].path, [file_caption(samples[k].path)], maps))
    return found[:MAX_MISTAKES]


def of_classes(samples: Sequence[Sample], labels: Labels, class_names: Sequence[str]) -> list[Example]:
    """An image in which each of the most frequent labels was found rightly, the one whose logit is the median."""
    right = labels.true & labels.predicted
    frequent = np.sort(np.argsort(-labels.true.sum(0), kind="stable")[:MAX_CLASSES])
    found = []
    for index in frequent.tolist():
        images = np.flatnonzero(right[:, index])
        if len(images):
            k = images[np.argsort(labels.logits[images, index], kind="stable")[(len(images) - 1) // 2]]
            name = class_names[index]
            found.append(Example(samples[k].path, [file_caption(samples[k].path)], [(name, name, canvas.RIGHT)]))
    return found
