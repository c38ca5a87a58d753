"""Why objects are wrong or missed: the error types of TIDE (Bolya et al., ECCV 2020, https://arxiv.org/abs/2008.08115).

A found object that is not a hit, and not in a crowd, has one of five errors, the first that applies:

    location        IoU of 0.1 to 0.5 with an object of its class
    class           IoU of at least 0.5 with an object of another class
    duplicate       IoU of at least 0.5 with an object of its class, which another one with a higher score has taken
    background      IoU of at most 0.1 with any object
    both            what is left: IoU of 0.1 to 0.5 with an object of another class

An object is "missed" if nothing found it, and no location or class error would find it if it were corrected. The weight of a type
is the gain of AP (at an IoU of 0.5) if all its errors were corrected: the object with the highest score of those that a location
or class error belongs to becomes a hit, every other error is left out, and a missed object is not counted.
"""

from typing import NamedTuple

import numpy as np

from resnets.tasks.detection.metrics.average_precision import average_precision_of, ranked_by_class
from resnets.tasks.detection.metrics.match_detections import box_ious
from resnets.tasks.detection.records import Records

FALSE_POSITIVES = ("class", "location", "both", "duplicate", "background")
NAMES = (*FALSE_POSITIVES, "missed")
_MIN_IOU, _BACKGROUND_IOU = 0.5, 0.1


class ErrorTypes(NamedTuple):
    """By name of the type: the gain of AP if it were corrected, and the number of errors.

    Args:
        ap: the AP at an IoU of 0.5, from which they are gained; None without objects.
        kind: int64 (M,): of each found object the index in `FALSE_POSITIVES`, or -1 without an error.
        missed: bool (n,): of each annotated object.
    """

    ap: float | None
    gains: dict[str, float]
    counts: dict[str, int]
    kind: np.ndarray
    missed: np.ndarray


class _Errors(NamedTuple):
    kind: np.ndarray  # int (M,): index in FALSE_POSITIVES, -1 without an error
    target: np.ndarray  # int64 (M,): the missed object that it would find if it were corrected, or -1
    hits: np.ndarray
    ignored: np.ndarray


def error_types(records: Records, num_classes: int) -> ErrorTypes:
    """The error types of all found objects, whatever their score, by the boxes."""
    classes = dict(ranked_by_class(records, num_classes))
    counted = np.zeros(len(records.found.labels), bool)
    for ranked in classes.values():
        counted[ranked] = True
    errors = _classify(records, counted)
    winners = _winners(records, errors)
    lost = ~records.truth.crowd
    lost[records.matches.object[errors.hits]] = False
    uncovered = lost.copy()
    uncovered[errors.target[errors.target >= 0]] = False

    before, after = [], []
    for label, ranked in classes.items():
        own = records.truth.labels == label
        total = int((own & ~records.truth.crowd).sum())
        if not total:
            continue
        hits, ignored = errors.hits[ranked], errors.ignored[ranked]
        before.append(average_precision_of(hits, ignored, total))
        values = []
        for kind in range(len(FALSE_POSITIVES)):
            chosen = errors.kind[ranked] == kind
            fixed = chosen & winners[ranked] & (FALSE_POSITIVES[kind] == "location")
            new_hits, new_ignored = hits | fixed, ignored | (chosen & ~fixed)
            if FALSE_POSITIVES[kind] == "class":
                # A corrected one counts in the class of its object, behind those of this class with the same score.
                extra = np.flatnonzero(winners & (errors.kind == kind) & own[errors.target])
                scores = np.concatenate([records.found.scores[ranked], records.found.scores[extra]])
                order = np.argsort(-scores, kind="stable")
                new_hits = np.append(new_hits, np.ones(len(extra), bool))[order]
                new_ignored = np.append(new_ignored, np.zeros(len(extra), bool))[order]
            values.append(average_precision_of(new_hits, new_ignored, total))
        values.append(average_precision_of(hits, ignored, total - int((own & uncovered).sum())))
        after.append(values)
    counts = [int((errors.kind == kind).sum()) for kind in range(len(FALSE_POSITIVES))] + [int(uncovered.sum())]
    gains = (np.array(after) - np.array(before)[:, None]).mean(axis=0) if before else np.zeros(len(NAMES))
    return ErrorTypes(
        float(np.mean(before)) if before else None,
        dict(zip(NAMES, gains.tolist(), strict=True)),
        dict(zip(NAMES, counts, strict=True)),
        errors.kind,
        uncovered,
    )


def _classify(records: Records, counted: np.ndarray) -> _Errors:
    hits, ignored = (values & counted for values in records.matches.at(0))
    kinds, targets = np.full(len(hits), -1), np.full(len(hits), -1)
    taken = np.zeros(len(records.truth.labels), bool)
    taken[records.matches.object[hits]] = True
    for image in range(len(records)):
        found, truth = records.found_in(image), records.truth_in(image)
        wrong = np.flatnonzero((counted & ~hits & ~ignored)[found]) + found.start
        if len(wrong):
            objects = np.arange(truth.start, truth.stop)
            objects = objects[np.argsort(records.truth.crowd[truth], kind="stable")]
            kinds[wrong], targets[wrong] = _classify_image(records, wrong, objects, taken)
    usable = np.append(~taken & ~records.truth.crowd, False)
    return _Errors(kinds, np.where(usable[targets], targets, -1), hits, ignored)


def _classify_image(
    records: Records, wrong: np.ndarray, objects: np.ndarray, taken: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The index in `FALSE_POSITIVES` of each wrong object of an image, and the object that it belongs to, or -1."""
    if not len(objects):
        return np.full(len(wrong), FALSE_POSITIVES.index("background")), np.full(len(wrong), -1)
    crowd = records.truth.crowd[objects]
    ious = box_ious(records.found.boxes[wrong], records.truth.boxes[objects], crowd)
    same = records.found.labels[wrong][:, None] == records.truth.labels[objects]
    own, other = np.where(same, ious, 0), np.where(same | crowd, 0, ious)
    nearest, most = own.max(axis=1), other.max(axis=1)
    conditions = {
        "location": (nearest >= _BACKGROUND_IOU) & (nearest <= _MIN_IOU),
        "class": most >= _MIN_IOU,
        "duplicate": ((own >= _MIN_IOU) & taken[objects]).any(axis=1),
        "background": most <= _BACKGROUND_IOU,
    }
    numbers = [FALSE_POSITIVES.index(name) for name in conditions]
    kinds = np.select(list(conditions.values()), numbers, FALSE_POSITIVES.index("both"))
    belongs = {"location": objects[own.argmax(axis=1)], "class": objects[other.argmax(axis=1)]}
    targets = np.full(len(wrong), -1)
    for name, values in belongs.items():
        chosen = kinds == FALSE_POSITIVES.index(name)
        targets[chosen] = values[chosen]
    return kinds, targets


def _winners(records: Records, errors: _Errors) -> np.ndarray:
    """bool (M,): of the errors that belong to the same object, that with the highest score, and of equal ones the first."""
    candidates = np.flatnonzero(errors.target >= 0)
    order = candidates[np.lexsort((-records.found.scores[candidates], errors.target[candidates]))]
    first = np.append(True, np.diff(errors.target[order]) != 0)[: len(order)]
    winners = np.zeros(len(errors.target), bool)
    winners[order[first]] = True
    return winners
