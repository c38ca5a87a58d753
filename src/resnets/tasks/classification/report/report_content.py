"""What the page of a classification run shows: key numbers, and its sections with their figures and tables."""

from collections.abc import Iterator, Sequence
from functools import partial

from resnets.report.confused_classes import ConfusedPair, most_confused_pairs
from resnets.report.content import Block, Code, Column, Figure, KeyNumber, ReportContent, Section, Table, Wrong
from resnets.report.figures import font_fallback
from resnets.report.number_formats import count, percent
from resnets.report.run_files import RunFiles
from resnets.tasks.best_epoch import best_row
from resnets.tasks.classification import metrics
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.classification.report import prediction_images, report_text
from resnets.tasks.classification.selection import MONITOR
from resnets.tasks.heatmaps import report_figures

MAX_PAIRS = 30
_count, _percent = (partial(Column, kind="number", format=each) for each in (count, percent))
THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)


def build(files: RunFiles, predictions: Predictions | None) -> ReportContent:
    """The content of the page of a run or an evaluation.

    Args:
        predictions: of the images that the tables and figures show; None where there are none.
    """
    labeled = predictions.with_labels() if predictions else None
    pairs = most_confused_pairs(metrics.confusion(labeled), labeled.class_names, MAX_PAIRS) if labeled else []
    headline, explanation = report_text.headline(files, labeled)
    return ReportContent(
        headline=headline,
        title=report_text.title(files),
        explanation=explanation,
        key_numbers=list(key_numbers(files)),
        summary=report_text.summary(files, labeled, pairs),
        curves=report_text.learning(files),
        sections=list(_sections(files, predictions, labeled, pairs)),
        data=[_splits(files)],
    )


def key_numbers(files: RunFiles) -> Iterator[KeyNumber]:
    """The numbers at the top."""
    summary = files.metrics
    if summary.get("count"):
        yield KeyNumber("accuracy (top-1)", percent(summary["top1"]), _range(summary["top1_interval"]))
        if selected := summary.get("selected"):
            yield KeyNumber("validation accuracy", percent(selected["top1"]), "in-sample")
        if summary["num_classes"] > (k := summary["top5_of"]) > 1:
            yield KeyNumber(f"accuracy (top-{k})", percent(summary["top5"]), f"true class among the first {k}")
        yield KeyNumber("balanced accuracy", percent(summary["balanced_accuracy"]), "mean recall of the classes")
        yield KeyNumber("loss", f"{summary['loss']:.3f}", "cross-entropy, lower is better")
        ends = f", {_range(summary['ece_interval'])}" if summary["ece_interval"] else ""  # not for a cross-fitted one
        yield KeyNumber("calibration error", percent(summary["ece"]), f"ECE{ends}, lower is better")
    if best := best_row(files.rows, MONITOR):
        yield KeyNumber("best epoch", f"{best['epoch']:.0f}", f"of {len(files.rows)}")


def _range(interval: Sequence[float], digits: int = 1) -> str:
    return f"{percent(interval[0], digits)} to {percent(interval[1], digits)}"


def _sections(
    files: RunFiles, predictions: Predictions | None, labeled: Predictions | None, pairs: Sequence[ConfusedPair[str]]
) -> Iterator[Section]:
    if labeled:
        yield Section("confusion", "Confused classes", list(_confusion(files, labeled, pairs)))
        diagram = Figure("reliability.png", "Reliability diagram: accuracy as a function of confidence")
        yield Section("confidence", "Confidence", [*report_text.confidence(files), _thresholds(labeled), diagram])
        yield Section("losses", "Highest losses", _losses(files, labeled))
    if predictions:
        description = "Images with their true and predicted classes; wrong ones are marked red"
        caption = "Above: the true class. Below: the predicted class."
        yield Section("images", "Images", [Figure("val_batch_pred.jpg", description, caption, photographs=True)])
    if labeled:
        yield Section("classes", "Class by class", _classes(files, labeled))
    commands, code = Code(report_text.commands(files)), Code(report_text.code(files))
    text = "Classify new images, or evaluate on other labeled ones:"
    yield Section("use", "Use it", [text, commands, "The same in Python:", code])


def _confusion(files: RunFiles, labeled: Predictions, pairs: Sequence[ConfusedPair[str]]) -> Iterator[Block]:
    yield report_text.basis(files)
    if not pairs:
        yield f"None: all {len(labeled):,} labeled images are predicted correctly."
    elif pairs[0].num_images == 1:
        yield "No two classes are confused more than once."
    else:
        true, predicted, wrong, total = pairs[0]
        true, predicted = report_text.quote(true), report_text.quote(predicted)
        yield f"Most often {true} is predicted as {predicted}: {wrong:,} of {total:,} times."
    if not font_fallback.is_drawable(labeled.class_names):
        yield "Some names are shown as character codes in the figures: this machine has no font with these characters."
    yield Figure("confusion_matrix.png", "Confusion matrix: rows are true classes, columns are predicted classes")
    columns = [Column("true class"), Column("predicted"), _count("images"), _count("of"), _percent("percent")]
    rows = [(*pair, pair.num_images / pair.total) for pair in pairs]
    yield Table(columns, rows)


def _thresholds(labeled: Predictions) -> Table:
    """The accuracy on the images above each of `THRESHOLDS`, where there are any."""
    rows = []
    for threshold in THRESHOLDS:
        above = labeled.confidence >= threshold
        if above.any():
            rows.append((threshold, above.mean(), labeled.correct[above].mean()))
    least = Column("confidence at least", "number", lambda fraction: percent(fraction, 0))
    return Table([least, _percent("fraction of images"), _percent("accuracy on those")], rows)


def _losses(files: RunFiles, labeled: Predictions) -> list[Block]:
    text = (
        "The images with the highest losses: wrong predictions with a high confidence come first. If few predictions are "
        "wrong, right ones with a low confidence are included. Look for wrong labels, unusual images, and images that show "
        "more than one class; correcting the labels is often the cheapest way to a better model."
    )
    description = "The images with the highest losses, each with its true and its predicted class"
    columns = [Column("file", "code"), Column("true class"), Column("predicted"), _percent("probability")]
    columns.append(Column("loss", "number", "{:.3f}".format))
    rows, names, confidence, losses = [], labeled.class_names, labeled.confidence, labeled.losses
    for k in prediction_images.top_losses(labeled):
        predicted = names[labeled.predicted[k]]
        shown = predicted if labeled.correct[k] else Wrong(predicted)
        rows.append((labeled.paths[k], names[labeled.true[k]], shown, confidence[k], abs(losses[k])))
    figure = Figure("top_losses.png", description, photographs=True)
    wrong = (
        "The wrong predictions with the highest losses, each beside the heat maps of its predicted and its true class"
    )
    maps = report_figures.blocks(files.path, report_figures.OF_MISTAKES, wrong)
    return [text, figure, *maps, Table(columns, rows, summary="Files")]


def _classes(files: RunFiles, labeled: Predictions) -> list[Block]:
    text = (
        "Recall: the fraction of the images of a class that are predicted as this class. Precision: the fraction of the "
        "images predicted as a class that belong to it."
    )
    training = files.splits.get("training")
    columns = [
        Column("class"),
        *([_count("training images")] if training else []),
        _count(f"{report_text.split_name(files)} images".strip()),
        _percent("recall", bar=True),
        Column("95 % interval", "number", lambda interval: _range(interval, 0)),
        _percent("precision"),
        _percent("F1"),
    ]
    rows = []
    for row in metrics.per_class(labeled):
        trained = [training[row["class"]]] if training else []
        interval = (row["recall_low"], row["recall_high"]) if row["support"] else None
        rows.append((row["class"], *trained, row["support"], row["recall"], interval, row["precision"], row["f1"]))
    right = (
        "An image of each class that is predicted rightly, with the median confidence, beside the heat map of the class"
    )
    return [text, Table(columns, rows), *report_figures.blocks(files.path, report_figures.OF_CLASSES, right)]


def _splits(files: RunFiles) -> Table:
    columns = [Column("split"), *map(_count, ("images", "classes", "smallest class", "largest class"))]
    rows = [
        (name, labels.total(), len(labels), min(labels.values()), max(labels.values()))
        for name, labels in files.splits.items()
    ]
    return Table(columns, rows, file="split.csv")
