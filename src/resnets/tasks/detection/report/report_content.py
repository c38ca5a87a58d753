"""What the page of a detection run shows first: the headline, key numbers and a summary."""

from collections.abc import Iterator, Mapping
from typing import Any

from resnets.report import metric_texts
from resnets.report.content import KeyNumber, ReportContent
from resnets.report.number_formats import count, percent
from resnets.report.run_files import SPLIT_NAMES, RunFiles
from resnets.tasks.detection.metrics.metric_tables import used_classes
from resnets.tasks.detection.report.bar_charts import MEANINGS, size_names
from resnets.tasks.detection.report.report_sections import Evaluated, sections

_FEW_OBJECTS = 20  # of a class in the evaluated images: its numbers say little


def build(files: RunFiles, evaluated: Evaluated | None) -> ReportContent:
    """The content of the page of a run or an evaluation; `evaluated` is None where there were no images to evaluate on."""
    metrics = files.metrics
    headline, explanation = _headline(metrics)
    return ReportContent(
        headline=headline,
        explanation=explanation,
        key_numbers=list(_key_numbers(metrics)),
        summary=list(_summary(metrics, evaluated)) if evaluated else [],
        curves="The losses should fall, and AP should rise; the epoch with the highest AP on the validation images is kept.",
        sections=list(sections(files, evaluated)),
    )


def _headline(metrics: Mapping[str, Any]) -> tuple[str, str]:
    if not metrics.get("count"):
        return "This model has not been evaluated.", "There are no annotated images that it was not trained on."
    if metrics.get("box_ap") is None:
        return (
            "There were no objects to find.",
            f"None of the {metrics['count']:,} evaluated images has an annotated object.",
        )
    headline = (
        f"The model finds {percent(metrics['recall_micro'])} of the objects, and {percent(metrics['precision_micro'])} of what "
        f"it reports is right; AP50 is {percent(metrics['box_ap50'])}{_within(metrics, 'box_ap50')}."
    )
    split = SPLIT_NAMES.get(metrics.get("split", ""), "")
    explanation = (
        f"Measured on {metrics['num_objects']:,} objects in {metrics['count']:,} {split} images. An object is found if a "
        "reported box of its class overlaps its own by at least half (IoU 0.5); boxes with a score of at least "
        f"{metrics['threshold']:.2f} are reported. AP, the average precision, needs no threshold: AP50 is the mean over the "
        "classes at an IoU of 0.5, AP also over stricter ones up to 0.95, as COCO defines it."
    )
    if metrics["max_detections"] != 100:
        explanation += (
            f" Up to {metrics['max_detections']} objects of a class in an image are counted, instead of COCO's 100."
        )
    if metrics.get("in_sample"):
        explanation += (
            " The epoch or the threshold was selected on these images, so that it finds less in new ones; therefore no "
            "intervals are given."
        )
    elif metrics.get("folds"):
        explanation += " Epochs and thresholds were selected on other images than those that they are evaluated on."
    return headline, explanation + metric_texts.notices(metrics)


def _within(metrics: Mapping[str, Any], key: str) -> str:
    return f", 95 % interval {interval}" if (interval := metric_texts.interval(metrics, key)) else ""


def _key_numbers(metrics: Mapping[str, Any]) -> Iterator[KeyNumber]:
    if metrics.get("box_ap") is None:
        return
    names = {
        "box_ap50": "AP50 of boxes", "box_ap": "AP of boxes", "mask_ap50": "AP50 of masks", "mask_ap": "AP of masks",
        "recall_micro": "objects found", "precision_micro": "reports right", "f1_micro": "F1",
    }  # fmt: skip
    yield from metric_texts.key_numbers(metrics, names)
    wrong, missed = metrics["false_positives"], metrics["false_negatives"]
    yield KeyNumber("objects", count(metrics["num_objects"]), f"{count(missed)} missed; {count(wrong)} wrong reports")
    if selected := metrics.get("selected"):
        yield KeyNumber("validation AP", percent(selected["box_ap"]), "in-sample")


def _summary(metrics: Mapping[str, Any], evaluated: Evaluated) -> Iterator[str]:
    known = [row for row in evaluated.rows if row["box_ap50"] is not None]
    if len(known) > 1:
        yield metric_texts.extremes(known, "box_ap50", "AP50")
    if evaluated.errors.ap is not None:
        name = max(evaluated.errors.gains, key=lambda each: evaluated.errors.gains[each])
        gain = 100 * evaluated.errors.gains[name]
        if gain > 0:
            yield f"The most costly type of error is “{name}” ({MEANINGS[name]}): it costs {gain:.1f} points of AP50."
    sizes = [(total, found, name) for (total, found), name in zip(evaluated.sizes, size_names(), strict=True)]
    enough = [each for each in sizes if each[0] >= _FEW_OBJECTS]
    if len(enough) > 1:
        total, found, name = min(enough, key=lambda each: each[1] / each[0])
        yield f"Objects of {name} are found least often: {count(found)} of {count(total)}."
    used = used_classes(evaluated.rows)[0]
    if few := [row["class"] for row in used if row["objects"] < _FEW_OBJECTS]:
        yield (
            f"{count(len(few))} of {count(len(used))} classes have fewer than {_FEW_OBJECTS} objects here, such as "
            f"“{few[0]}”; their numbers say little."
        )
