"""The model card (README.md) of a folder for the Hugging Face Hub, from the contents of a checkpoint.

The file starts with YAML between two lines of `---` (huggingface.co/docs/hub/model-cards). JSON is YAML, so each value is written
as JSON.
"""

import json
from collections.abc import Mapping
from typing import Any

from resnets.weights.checkpoint import Checkpoint
from resnets.weights.provenance import PARENT, ancestors, base_model, license_, training_data

FILE = "README.md"
# License identifiers of the Hub; others are written as "other" with a name.
HUB = {"bsd-3-clause", "apache-2.0", "mit", "cc-by-nc-4.0", "cc-by-4.0", "cc0-1.0", "bsd-2-clause", "unknown"}
RESULTS = {
    "top1": "Top-1 accuracy", "top5": "Top-5 accuracy", "balanced_accuracy": "Balanced accuracy",
    "ece": "Expected calibration error", "nll": "Log loss", "loss": "Loss",
}  # fmt: skip


def text(checkpoint: Checkpoint, *, library: str, name: str, usage: str, notes: tuple[str, ...] = ()) -> str:
    """The whole file.

    Args:
        library: "transformers" or "timm".
        name: the library's of the network.
        usage: Python code that opens the folder and classifies an image.
        notes: what was changed for the library, in sentences.
    """
    return "\n".join((*_head(checkpoint, library, name), *_body(checkpoint, name, usage, notes))) + "\n"


def _head(checkpoint: Checkpoint, library: str, name: str) -> list[str]:
    license_name = license_(checkpoint.provenance)
    values: dict[str, Any] = {"license": license_name.lower() if license_name.lower() in HUB else "other"}
    if values["license"] == "other":
        values["license_name"] = license_name.lower().replace(" ", "-")
    tags = ["image-classification", "resnet", "resnets"]
    values |= {"library_name": library, "pipeline_tag": "image-classification", "tags": tags}
    if parent := base_model(checkpoint.provenance):
        values["base_model"] = parent
    results = [
        {"type": "accuracy" if key == "top1" else key, "value": checkpoint.metrics[key], "name": label}
        for key, label in RESULTS.items()
        if _number(checkpoint.metrics.get(key))
    ]
    if results:
        task = {"type": "image-classification", "name": "Image classification"}
        dataset = {"type": "imagefolder", "name": _protocol(checkpoint.metrics)}
        result = {"task": task, "dataset": dataset, "metrics": results}
        values["model-index"] = [{"name": f"{name}, {checkpoint.spec.num_classes} classes", "results": [result]}]
    return ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()), "---", ""]


def _body(checkpoint: Checkpoint, name: str, usage: str, notes: tuple[str, ...]) -> list[str]:
    spec, metrics, provenance = checkpoint.spec, checkpoint.metrics, checkpoint.provenance
    lines = [f"# {spec.name}, {spec.num_classes} classes", ""]
    lines += [f"`{name}`, written by resnets from a checkpoint of `{spec.name}`.", ""]
    lines += ["```python", usage.strip(), "```", ""]
    if notes:
        lines += [*(f"- {note}" for note in notes), ""]
    if checkpoint.class_names:
        some = ", ".join(_plain(each) for each in checkpoint.class_names[:20])
        more = f" and {len(checkpoint.class_names) - 20:,} more" if len(checkpoint.class_names) > 20 else ""
        lines += [f"Classes: {some}{more}.", ""]
    facts = {key: value for key, value in metrics.items() if _number(value)}
    lines += ["## Evaluation", ""]
    if facts:
        lines += [f"Protocol: {_protocol(metrics)}.", "", "| metric | value |", "|---|---|"]
        lines += [f"| {_plain(key)} | {value:.6g} |" for key, value in facts.items()]
    else:
        lines.append("The checkpoint has no metrics.")
    license_name = license_(provenance)
    is_own = license_({**provenance, PARENT: None}) == license_name
    taken = "" if is_own else " (that of the weights at the beginning of the training)"
    lines += ["", "## Training data", "", *(f"- {_plain(line)}" for line in training_data(provenance))]
    lines += ["", "## Provenance", "", f"- license: {_plain(license_name)}{taken}", *_facts(provenance)]
    for each in ancestors(provenance):
        lines += ["", "The weights at the beginning of that training:", "", *_facts(each, hidden=(PARENT,))]
    return lines


def _facts(provenance: Mapping[str, Any], hidden: tuple[str, ...] = ("license", PARENT)) -> list[str]:
    return [f"- {_plain(key)}: {_plain(_flat(value))}" for key, value in provenance.items() if key not in hidden]


def _protocol(metrics: Mapping[str, Any]) -> str:
    """A text on what the metrics were measured on."""
    if isinstance(protocol := metrics.get("protocol"), str):
        return _plain(protocol)
    split = metrics.get("split")
    count = metrics.get("count")
    words = [f"{_plain(split)} split" if isinstance(split, str) else "validation split of the training data"]
    if _number(count):
        words.append(f"{count:,} images")
    return ", ".join(words)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(each)}" for key, each in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list | tuple) else str(value)


def _plain(value: object) -> str:
    """One line without signs that Markdown or HTML read."""
    line = " ".join(str(value).split())
    for sign in "\\`*_<>|[]":
        line = line.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return line
