"""What the sections of the report say, taken from the files of a run folder."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from resnets.report.figures import confused_pairs, training_curves
from resnets.report.html import number_text
from resnets.report.html.prediction_counts import Tally
from resnets.report.html.run_files import Folder

MOST_PAIRS = 30
_LEARNED = 0.8  # below this the network is still learning, whatever the distance to the validation images
_BY_HEART = 0.15  # a distance that chance and augmentation do not explain
_PARTS = {"train": "training", "val": "validation", "test": "test"}


class Fact(NamedTuple):
    """One number at the top of the page."""

    name: str
    value: str
    note: str = ""


class Mistake(NamedTuple):
    """`number` of the `total` images of the class `true` were taken for `predicted`."""

    true: str
    predicted: str
    number: int
    total: int


class ClassRow(NamedTuple):
    """A class of `per_class.csv`, with its number of training images; None is unknown."""

    name: str
    training: int | None
    images: int | None
    recall: float | None
    low: float | None
    high: float | None
    precision: float | None
    f1: float | None


class Part(NamedTuple):
    """A part of the split, and how even its classes are."""

    name: str
    images: int
    classes: int
    fewest: int
    most: int


def title(files: Folder) -> str:
    """The run's name, the network and the images, as far as they are known."""
    if files.is_evaluation:
        judged = [*_checkpoints(files), str(files.metrics.get("data", ""))]
        return "Evaluation · " + " · ".join(part for part in judged if part)
    known = (files.path.resolve().name, files.setting("model.name"), files.setting("data.location"))
    return " · ".join(part for part in known if part)


def _checkpoints(files: Folder) -> list[str]:
    return [str(path) for path in files.metrics.get("checkpoints", [])]


def part_measured(files: Folder) -> str:
    """`validation` or `test`: which images the tables and figures show; an empty string where it was the whole of a set."""
    return {"val": "validation", "test": "test", "train": "training"}.get(files.metrics.get("split", "val"), "")


def in_sample(files: Folder) -> bool:
    """Whether the headline is of images that chose the epoch: those of a run without a test split, if not cross-fitted."""
    chosen = not files.is_evaluation and files.metrics.get("split", "val") == "val" and "folds" not in files.metrics
    return bool(files.metrics.get("in_sample", chosen))


def notices(files: Folder) -> list[str]:
    """What has to be known before the headline is believed, a sentence each: "notices" of `metrics.json`.

    Whoever writes these (`training.finish`, `tasks.evaluation`) finds out, for example, that some of the images are known
    to the weights that a run began from. With a notice the page does not claim that the images were not trained on.
    """
    said = [str(notice) for notice in files.metrics.get("notices", [])]
    return [f"{notice[:1].upper()}{notice[1:]}." for notice in (line.rstrip(".") for line in said) if notice]


def headline(files: Folder, results: Tally) -> tuple[str, str]:
    """The result in one plain sentence, and a paragraph that says what it rests on."""
    interval, count = files.metrics.get("top1_interval"), files.metrics.get("count")
    if not interval or not count:
        return (
            "How good this model is has not been measured.",
            "There are no labeled validation images in this run. Measure it with the second command under “Use it”.",
        )
    said = f"{_measured_on(files, count)}: {number_text.percent(files.metrics.get('top1'))} right. The range is the 95 % interval"
    said += ", widened because these choices depend on each other" if "folds" in files.metrics else ""
    said += "; more images would narrow it. It holds for images like those, not for others."
    if part_measured(files) not in ("validation", "test"):
        said += " It holds only if the model was not trained on them."
    if results.commonest and results.total:
        share = results.commonest[1] / results.total
        said += f" Always guessing the commonest class would get {number_text.percent(share, 0)} right."
    said += "".join(f" {notice}" for notice in notices(files))
    if files.metrics.get("protocol"):
        said += f" Protocol: {files.metrics['protocol']}."
    if not files.is_evaluation and part_measured(files) == "validation":
        said += (
            " The cleanest figure comes from a test split, whose images choose nothing: resnets data split with "
            "--test-fraction sets one aside before the training."
        )
    return number_text.headline(*interval), said


def _measured_on(files: Folder, count: int) -> str:
    part = part_measured(files)
    said = f"Measured on {count:,} {part + ' ' if part else ''}images"
    if part in ("validation", "test") and not files.metrics.get("notices"):
        said += " that were not trained on"
    if "folds" in files.metrics:
        return (
            f"{said}, by cross-fitting: each of {len(files.metrics['folds']['epochs'])} parts of them is judged by the epoch "
            "and the temperature that the other parts would have chosen"
        )
    if in_sample(files):
        return f"{said} but chose the epoch and the temperature, so that other images will get less"
    return said


def basis(files: Folder) -> str:
    """Which images the tables and figures below the headline show, where these are not those of the headline."""
    selected = files.metrics.get("selected")
    if in_sample(files) and not files.is_evaluation and files.metrics.get("count"):
        selected = files.metrics
    if not selected:
        return ""
    on = f"{selected['count']:,} validation images, which chose the epoch and the temperature"
    flattered = (
        f"{number_text.percent(selected['top1'])} right, calibration error {number_text.percent(selected.get('ece'))}"
    )
    if files.metrics.get("split") == "test":
        return f"All that follows is of the test images. In-sample, on the {on}: {flattered}."
    return (
        f"All that follows is of the weights that are kept, and of the {on} (in-sample: {flattered}). So it shows what is "
        "confused with what, and looks a little better than it will be on other images."
    )


def summary(files: Folder, results: Tally) -> list[str]:
    """What a person should know of the run, a line each."""
    said = []
    most = next(iter(pairs(files, results)), None)
    if most and most.number > 1:
        said.append(
            f"It most often takes {_quoted(most.true)} for {_quoted(most.predicted)}: "
            f"{most.number:,} of {most.total:,} times."
        )
    known = [row for row in class_rows(files) if row.recall is not None and row.images]
    weakest = min(known, key=lambda row: row.recall or 0.0, default=None)
    if weakest and len(known) > 1 and (weakest.recall or 0.0) < 1:
        said.append(
            f"Its weakest class is {_quoted(weakest.name)}: {number_text.percent(weakest.recall, 0)} of its "
            f"{weakest.images:,} images are found."
        )
    sure = next((row for row in results.thresholds() if row.least == 0.9), None)
    if sure:
        those = "all" if sure.right == 1 else number_text.percent(sure.right)
        said.append(
            f"It is at least 90 % sure of {number_text.percent(sure.share, 0)} of the images, and right on {those} of those."
        )
    top = training_curves.best(files.rows)
    if top:
        said.append(
            f"The best of its {len(files.rows):,} epochs was number {top['epoch']:.0f}; those weights are kept."
        )
    if unused := files.environment.get("not_used") or files.metrics.get("not_used"):
        said.append(f"{str(unused)[:1].upper()}{str(unused)[1:]}.")
    return said


def _quoted(name: str) -> str:
    # The isolates keep a name that is written from right to left from turning the sentence around it.
    return f"“\u2068{name}\u2069”"


def facts(files: Folder) -> list[Fact]:
    """The numbers at the top."""
    metrics, out = files.metrics, []
    if metrics.get("count"):
        low, high = metrics["top1_interval"]
        out.append(Fact("right (top-1)", number_text.percent(metrics["top1"]), _range(low, high)))
        if selected := metrics.get("selected"):
            out.append(Fact("on the images that chose", number_text.percent(selected["top1"]), "in-sample"))
        if metrics.get("classes", 0) > metrics.get("top5_of", 0) > 1:
            out.append(Fact(f"among the first {metrics['top5_of']}", number_text.percent(metrics["top5"]), "top-5"))
        out.append(
            Fact("mean over classes", number_text.percent(metrics.get("balanced_accuracy")), "balanced accuracy")
        )
        out.append(Fact("loss", f"{metrics['loss']:.3f}", "cross-entropy, less is better"))
        ends = f", {_range(*metrics['ece_interval'])}" if metrics.get("ece_interval") else ""
        out.append(Fact("calibration error", number_text.percent(metrics.get("ece")), f"ECE{ends}, less is better"))
    top = training_curves.best(files.rows)
    if top:
        out.append(Fact("best epoch", f"{top['epoch']:.0f}", f"of {len(files.rows)}"))
    seconds = files.rows[-1].get("time_seconds") if files.rows else None
    if seconds:
        epochs = "1 epoch" if len(files.rows) == 1 else f"{len(files.rows):,} epochs"
        out.append(Fact("training time", number_text.duration(seconds), epochs))
    for part in split_rows(files):
        out.append(Fact(f"{part.name} images", f"{part.images:,}", f"{part.classes:,} classes"))
    return out


def _range(low: float, high: float) -> str:
    return f"{number_text.percent(low)} to {number_text.percent(high)}"


def _model(files: Folder) -> str:
    """What `resnets` takes as the checkpoint: this run folder, or the file that was evaluated."""
    if not files.is_evaluation:
        return str(files.path.resolve())
    judged = _checkpoints(files)
    return str(Path(judged[0]).resolve()) if judged else "CHECKPOINT"


def commands(files: Folder) -> str:
    """The exact commands for this run."""
    model = shlex.quote(_model(files))
    return f"resnets predict {model} IMAGE-OR-FOLDER...\nresnets evaluate {model} FOLDER-OF-CLASS-FOLDERS"


def code(files: Folder) -> str:
    """The same in Python."""
    return (
        "import resnets\n\n"
        f"classifier = resnets.load({_model(files)!r})\n"
        'for result in classifier.predict(["image.jpg"]):\n'
        "    print(result.path, result.label, result.probability)"
    )


def course(files: Folder) -> str:
    """What the curves show, in words."""
    top = training_curves.best(files.rows)
    if not files.rows:
        return ""
    if top is None:
        return "There were no validation images: the curves show only how well the training images were learned."
    said = f"The weights of epoch {top['epoch']:.0f} are kept as the best ones."
    train, held = files.rows[-1].get("train/accuracy_top1"), files.rows[-1].get("val/accuracy_top1")
    if train is not None and held is not None and train > _LEARNED and train - held > _BY_HEART:
        said += (
            f" At the end {number_text.percent(train)} of the training images are right but {number_text.percent(held)} of the "
            "validation images: the network learned some by heart. More images, or stronger augmentation, would "
            "help."
        )
    elif top["epoch"] == files.rows[-1].get("epoch") and len(files.rows) > 1:
        said += " It was the last one: more epochs may make it better still."
    return said + " Training images are varied on purpose, so their curve can lie below that of the validation images."


def pairs(files: Folder, results: Tally) -> list[Mistake]:
    """The pairs of classes most often confused, by name."""
    names, matrix = results.matrix([row.get("class", "") for row in files.per_class])
    return [
        Mistake(names[pair.true], names[pair.predicted], pair.number, pair.total)
        for pair in confused_pairs.confused(matrix, MOST_PAIRS)
    ]


def confidence(files: Folder, results: Tally) -> list[str]:
    """How far the probabilities can be believed, a paragraph each."""
    error = files.metrics.get("ece")
    if error is None or not results.total:
        return []
    said = [number_text.trust(error, results.sure, results.right / results.total)]
    temperature = files.metrics.get("temperature", 1.0)
    if temperature != 1.0 and math.isfinite(temperature):
        way = "less" if temperature > 1 else "more"
        said.append(
            f"The temperature {temperature:.2f}, fitted to the validation images, makes the model {way} sure than "
            f"it came out of training; it is stored with the weights and changes no answer. {_diagram(files)}"
        )
    return said


def _diagram(files: Folder) -> str:
    if files.metrics.get("split") == "test":
        return "The diagram shows the test images, to which nothing was fitted."
    said = "The diagram shows those same images, so expect a little less on others"
    return f"{said}; the calibration error above is cross-fitted." if "folds" in files.metrics else f"{said}."


def class_rows(files: Folder) -> list[ClassRow]:
    """The rows of `per_class.csv`, each with the number of training images of its class."""
    training = Counter(row.get("label", "") for row in files.split if row.get("split") == "train")
    rows = []
    for row in files.per_class:
        recall, low, high, precision, f1, support = (
            _number(row, key) for key in ("recall", "recall_low", "recall_high", "precision", "f1", "support")
        )
        name, images = row.get("class", ""), None if support is None else int(support)
        rows.append(ClassRow(name, training[name] if training else None, images, recall, low, high, precision, f1))
    return rows


def _number(row: dict[str, str], key: str) -> float | None:
    try:
        value = float(row.get(key, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def split_rows(files: Folder) -> list[Part]:
    """How many images each part of `split.csv` has."""
    counts: dict[str, Counter[str]] = {}
    for row in files.split:
        counts.setdefault(row.get("split", ""), Counter())[row.get("label", "")] += 1
    order = sorted(counts, key=lambda part: (list(_PARTS).index(part) if part in _PARTS else len(_PARTS), part))
    return [
        Part(_PARTS.get(part, part), counts[part].total(), len(counts[part]), *_ends(counts[part]))
        for part in order
        if part
    ]


def _ends(counts: Counter[str]) -> tuple[int, int]:
    return min(counts.values()), max(counts.values())


def flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested JSON with their dotted keys."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield key, shlex.join(value) if key in ("command", "resumed_by") else ", ".join(value)
    else:
        yield key, "none" if value is None else str(value)
