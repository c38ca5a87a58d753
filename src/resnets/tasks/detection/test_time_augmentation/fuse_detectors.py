"""The objects of several detectors: weighted boxes fusion.

Solovyev, Wang and Gabruseva 2021, Weighted boxes fusion: Ensembling boxes from different object detection models, section 3:
boxes of a class that overlap are one object, whose box is their mean, weighted by their scores, and whose score is the mean of
the scores, times the fraction of the detectors that found it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from resnets.errors import UserError
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.test_time_augmentation.merge_views import iou_of
from resnets.tasks.inputs.class_orders import class_orders
from resnets.tasks.trained_model import TrainedModel

SAME_OBJECT = 0.55  # IoU, as in the paper


def label_maps(models: Sequence[TrainedModel]) -> list[np.ndarray]:
    """For each detector, the label of the first one for each of its labels, by the names of the classes.

    Raises:
        UserError: the classes differ, or have no names; or only some of the detectors find masks.
    """
    for model in models:
        if not model.has_class_names and len(models) > 1:
            raise UserError(
                f"'{model.name}' has no names of its classes, by which detectors that are used together are matched."
            )
        if model.task.has_masks != models[0].task.has_masks:  # type: ignore[attr-defined]
            raise UserError(
                f"Either all detectors that are used together find masks or none: '{models[0].name}' and '{model.name}' differ."
            )
    return [np.argsort(order) for order in class_orders(models)]


def fuse(found: Sequence[Detections]) -> Detections:
    """The objects that several detectors found in an image, whose labels are of the same classes.

    A mask is that of the box with the highest score.
    """
    boxes, scores, labels = (
        np.concatenate([getattr(each, name) for each in found]) for name in ("boxes", "scores", "labels")
    )
    scores = scores.astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    clusters: list[list[int]] = []
    fused = np.zeros((len(order), 4))  # the box of each cluster
    label_of = np.zeros(len(order), np.int64)
    for index in order.tolist():
        count = len(clusters)
        overlap = np.where(label_of[:count] == labels[index], iou_of(boxes[index], fused[:count]), 0)
        best = int(overlap.argmax()) if count and overlap.max() > SAME_OBJECT else count
        if best == count:
            clusters.append([])
            label_of[best] = labels[index]
        clusters[best].append(index)
        weights = scores[clusters[best]]
        fused[best] = weights @ boxes[clusters[best]] / weights.sum()
    means = np.array([scores[each].mean() * min(len(each), len(found)) / len(found) for each in clusters])
    ranked = np.argsort(-means, kind="stable")
    masks = None
    if all(each.masks is not None for each in found):
        every = [mask for each in found for mask in each.masks or ()]
        masks = [every[clusters[index][0]] for index in ranked]
    return Detections(fused[ranked].astype(np.float32), means[ranked].astype(np.float32), label_of[ranked], masks)
