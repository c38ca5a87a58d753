"""The class index of each sample, for a model of given classes."""

from collections.abc import Sequence

import numpy as np

from resnets.data.datasets.dataset import IndexedSamples, Sample, sample_labels
from resnets.errors import UserError
from resnets.message_format import format_list, suggestion
from resnets.tasks.classification.prediction_set import UNLABELED


def class_indices(samples: Sequence[Sample], class_names: Sequence[str]) -> np.ndarray:
    """int64 (N,), -1 for a sample without a label.

    Raises:
        UserError: a label is not the name of a class.
    """
    if isinstance(samples, IndexedSamples):
        return sample_labels(samples, class_names)
    indices = {name: index for index, name in enumerate(class_names)}
    labels = [sample.label for sample in samples]
    unknown = sorted({label for label in labels if label is not None} - set(indices))
    if unknown:
        hint = suggestion(unknown[0], indices)
        raise UserError(
            f"There are images of {format_list(unknown)}, but the model has only {format_list(list(class_names))}.{hint}"
        )
    return np.array([UNLABELED if label is None else indices[label] for label in labels], dtype=np.int64)
