"""Load a trained classifier from a checkpoint or a run directory."""

from __future__ import annotations

import shlex
from pathlib import Path

from resnets.errors import UserError
from resnets.inference.device import resolve_device
from resnets.tasks.classification.classifier import Classifier
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights


def load(path: str | Path, device: str = "auto", *, backend: str = "auto", precision: str = "auto") -> Classifier:
    """Load the classifier of a checkpoint, or the best one of a run directory, in eval mode.

    Args:
        path: a checkpoint, a run directory, or a name of `resnets weights list`.
        device: "auto" (the first GPU if torch has one, else the CPU), "cpu", "cuda", "cuda:1", "1" or "mps".
        backend, precision: what computes the predictions, as in `Classifier`.

    Returns:
        The classifier: `.predict(images)`, the network `.model`, its `.preprocess` and its `.class_names`.

    Raises:
        UserError: `path` is not an undamaged checkpoint of resnets, or there is no such device.
    """
    device = resolve_device(device)
    checkpoint = find_weights.read(path)
    if checkpoint.provenance.get("head") == checkpoints.UNTRAINED:
        raise UserError(
            f"'{path}' has a last layer that was not trained, so it cannot predict yet. Train it for your classes: "
            f"resnets train DATA --weights {shlex.quote(str(path))}"
        )
    return Classifier(
        checkpoints.network(checkpoint),
        checkpoint.preprocess,
        checkpoint.display_names,
        checkpoint.temperature,
        has_class_names=bool(checkpoint.class_names),
        spec=checkpoint.spec,
        metrics=checkpoint.metrics,
        provenance=checkpoint.provenance,
        device=device,
        backend=backend,
        precision=precision,
        name=str(path),
    )


def check_class_names(file: str | Path, classifier: Classifier, data: str) -> None:
    """Raise UserError for a model without class names: labels are matched by name."""
    if not classifier.has_class_names:
        raise UserError(
            f"'{file}' has no names for its {len(classifier.class_names)} outputs, so they cannot be matched with the labels of "
            f"'{data}'. Write the names into a text file, one per line in the order of the outputs, and add them: "
            f"resnets weights convert {shlex.quote(str(file))} --to resnets --out NAMED.safetensors --class-names FILE"
        )
