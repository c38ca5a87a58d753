"""The sentences of the report: headline, summary, calibration, and the commands for this run."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnets.report.confused_classes import ConfusedPair
from resnets.report.number_formats import percent
from resnets.report.run_files import SPLIT_NAMES, RunFiles
from resnets.tasks.best_epoch import best_row
from resnets.tasks.classification import metrics
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.classification.selection import MONITOR

_LEARNED = 0.8  # training accuracy below which the network is still learning, whatever its validation accuracy
_OVERFITTED = 0.15  # difference of accuracies that chance and augmentation do not explain
_NEARLY_ALL = 0.98  # from here on the sentence counts out of 1,000 instead of 100


def title(files: RunFiles) -> str:
    """The name of the run, the network and the data, as far as they are known."""
    if files.is_evaluation:
        return " · ".join(["Evaluation", *files.metrics["checkpoints"], files.metrics["data"]])
    names = [files.path.resolve().name, files.setting("model.name"), files.setting("data.location")]
    return " · ".join(name for name in names if name)


def split_name(files: RunFiles) -> str:
    """The split of the tables and figures: "validation", "test" or "training"; "" for a whole dataset."""
    return SPLIT_NAMES.get(files.metrics.get("split", "val"), "")


def headline(files: RunFiles, labeled: Predictions | None) -> tuple[str, str]:
    """The result in one sentence, and a paragraph on how it was measured."""
    interval, count = files.metrics.get("top1_interval"), files.metrics.get("count")
    if not interval or not count:
        missing = (
            "This run has no labeled validation images. Evaluate the model with the second command under “Use it”."
        )
        return "This model has not been evaluated.", missing
    text = f"{_measured_on(files, count)}: {percent(files.metrics.get('top1'))} right. The range above is the 95 % interval"
    text += ", widened because the selections of the folds depend on each other" if "folds" in files.metrics else ""
    text += "; more images would narrow it. It holds for images like these, not for others."
    if split_name(files) not in ("validation", "test"):
        text += " It holds only if the model was not trained on them."
    if labeled:
        fraction = np.bincount(labeled.true).max() / len(labeled)
        text += f" Always predicting the most common class would be right on {percent(fraction, 0)}."
    text += "".join(f" {_sentence(notice)}" for notice in files.metrics.get("notices", []))
    if files.metrics.get("protocol"):
        text += f" Protocol: {files.metrics['protocol']}."
    if not files.is_evaluation and split_name(files) == "validation":
        text += (
            " The most reliable result comes from a test split, which is not used for selection: resnets data split "
            "--test-fraction makes one before training."
        )
    return accuracy_sentence(*interval), text


def _measured_on(files: RunFiles, count: int) -> str:
    split = split_name(files)
    text = f"Measured on {count:,} {split + ' ' if split else ''}images"
    # A notice may be that the initial weights were trained on some of the images.
    if split in ("validation", "test") and not files.metrics.get("notices"):
        text += " that were not trained on"
    if "folds" in files.metrics:
        return (
            f"{text}, by cross-fitting: each of {len(files.metrics['folds']['epochs'])} folds is evaluated with the epoch "
            "and the temperature selected on the other folds"
        )
    if files.metrics.get("in_sample"):
        return f"{text} but were used to select the epoch and the temperature, so expect lower accuracy on other images"
    return text


def basis(files: RunFiles) -> str:
    """Which images the tables and figures show, where these are not those of the headline."""
    in_sample = files.metrics.get("in_sample") and not files.is_evaluation
    selected = files.metrics if in_sample else files.metrics.get("selected")
    if not selected:
        return ""
    images = f"{selected['count']:,} validation images used to select the epoch and the temperature"
    results = f"{percent(selected['top1'])} right, calibration error {percent(selected.get('ece'))}"
    if files.metrics.get("split") == "test":
        return f"The tables and figures below show the test images. In-sample, on the {images}: {results}."
    return (
        f"The tables and figures below show the best weights on the {images} (in-sample: {results}), so they look slightly "
        "better than they would on other images."
    )


def summary(files: RunFiles, labeled: Predictions | None, pairs: Sequence[ConfusedPair[str]]) -> list[str]:
    """The most important facts about the run, a sentence each."""
    lines = []
    if pairs and pairs[0].num_images > 1:
        true, predicted, wrong, total = pairs[0]
        lines.append(f"It most often mistakes {quote(true)} for {quote(predicted)}: {wrong:,} of {total:,} times.")
    if labeled:
        lines += _weakest_class(labeled)
        confident = labeled.confidence >= 0.9
        if confident.any():
            accuracy = labeled.correct[confident].mean()
            right = "all" if accuracy == 1 else percent(accuracy)
            lines.append(
                f"Its confidence is at least 90 % on {percent(confident.mean(), 0)} of the images, and it is right on "
                f"{right} of those."
            )
    if unused := files.environment.get("not_used") or files.metrics.get("not_used"):
        lines.append(_sentence(unused))
    return lines


def _weakest_class(labeled: Predictions) -> list[str]:
    measured = [row for row in metrics.per_class(labeled) if row["support"]]
    weakest = min(measured, key=lambda row: row["recall"])
    if len(measured) < 2 or weakest["recall"] == 1:
        return []
    return [
        f"Its weakest class is {quote(weakest['class'])}: {percent(weakest['recall'], 0)} of its "
        f"{weakest['support']:,} images are predicted correctly."
    ]


def _model(files: RunFiles) -> str:
    """The checkpoint for `resnets` commands: this run directory, or the file that was evaluated."""
    return str(Path(files.metrics["checkpoints"][0] if files.is_evaluation else files.path).resolve())


def commands(files: RunFiles) -> str:
    """The commands that use this model."""
    model = shlex.quote(_model(files))
    return f"resnets predict {model} IMAGE-OR-FOLDER...\nresnets evaluate {model} FOLDER-OF-CLASS-FOLDERS"


def code(files: RunFiles) -> str:
    """The same in Python."""
    return (
        "import resnets\n\n"
        f"classifier = resnets.load({_model(files)!r})\n"
        'for result in classifier.predict(["image.jpg"]):\n'
        "    print(result.path, result.label, result.probability)"
    )


def learning(files: RunFiles) -> str:
    """What the learning curves show."""
    best = best_row(files.rows, MONITOR)
    if not files.rows:
        return ""
    if best is None:
        return "There were no validation images: the curves show only how well the network fits the training images."
    text = f"The weights of epoch {best['epoch']:.0f} are saved as the best ones."
    train, val = files.rows[-1].get("train/accuracy_top1"), files.rows[-1].get("val/accuracy_top1")
    if train is not None and val is not None and train > _LEARNED and train - val > _OVERFITTED:
        text += (
            f" At the end {percent(train)} of the training images are right but {percent(val)} of the validation "
            "images: the network overfits. More images, or stronger augmentation, would help."
        )
    elif best["epoch"] == files.rows[-1].get("epoch") and len(files.rows) > 1:
        text += " It was the last epoch: training for more epochs may improve the result."
    return text + " Training images are augmented, so their accuracy can be below that of the validation images."


def confidence(files: RunFiles) -> list[str]:
    """How well the model is calibrated, a paragraph each."""
    error = files.metrics.get("ece")
    if error is None:
        return []
    confidence, accuracy, count = (files.metrics[key] for key in ("mean_confidence", "top1", "count"))
    by_chance = files.metrics.get("ece_by_chance", 0.0)
    paragraphs = [calibration_sentence(error, confidence, accuracy, count=count, by_chance=by_chance)]
    temperature = files.metrics.get("temperature", 1.0)
    if temperature != 1.0:
        direction = "less" if temperature > 1 else "more"
        paragraphs.append(
            f"The temperature {temperature:.2f}, fitted to the validation images, makes the model {direction} confident than it "
            f"was after training. It is stored with the weights and changes no prediction. {_diagram(files)}"
        )
    return paragraphs


def _diagram(files: RunFiles) -> str:
    if files.metrics.get("split") == "test":
        return "The diagram shows the test images, to which the temperature was not fitted."
    text = "The diagram shows those same images, so expect a larger error on others"
    return f"{text}; the calibration error above is cross-fitted." if "folds" in files.metrics else f"{text}."


def accuracy_sentence(low: float, high: float) -> str:
    """What an interval of the accuracy means for someone who will use the model."""
    out_of = 1000 if low >= _NEARLY_ALL or high <= 1 - _NEARLY_ALL else 100
    fewest, most = round(out_of * low), round(out_of * high)
    number = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return f"Of {out_of:,} images like these it gets about {number} right."


def calibration_sentence(error: float, confidence: float, accuracy: float, *, count: int, by_chance: float) -> str:
    """How well the model is calibrated, in words.

    Args:
        error: expected calibration error, 0 to 1.
        confidence: mean confidence, 0 to 1.
        accuracy: fraction of right predictions, 0 to 1.
        count: number of images.
        by_chance: error up to which the model may be perfectly calibrated (`calibration.error_by_chance`).
    """
    distance = f"On average the accuracy differs from the confidence by {_points(error)}"
    if error <= 0.03:
        return f"The model is well calibrated. {distance}."
    if error <= by_chance:
        return (
            f"{count:,} images are too few to tell whether the confidences are calibrated. {distance}; for a perfectly "
            f"calibrated model, chance alone may make it up to {_points(by_chance)}."
        )
    # Where the probabilities are right, the variance of the accuracy is at most that of equal confidences.
    shown = abs(confidence - accuracy) > 1.96 * math.sqrt(max(confidence * (1 - confidence), 0.0) / count)
    direction = ("overconfident" if confidence > accuracy else "underconfident") if shown else ""
    if error <= 0.08:
        return f"The model is roughly calibrated. {distance}{f'; it is slightly {direction}' if direction else ''}."
    if not direction:
        return f"The confidences are poorly calibrated. {distance}."
    return f"The model is {direction}: its confidences are poorly calibrated. {distance}."


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} percentage points"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def quote(name: str) -> str:
    """A class name in quotes; isolates keep a right-to-left name from reordering the sentence around it."""
    return f"“\u2068{name}\u2069”"
