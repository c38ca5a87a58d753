"""Describe a checkpoint besides its network: data, metrics and history, from its header and its run directory."""

import contextlib
import csv
import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resnets.data.datasets.dataset import SPLIT_FILE, SPLITS
from resnets.data.split import lineage
from resnets.message_format import format_list, printable
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, local_file

SHOWN_CLASSES = 12


def lines(path: str | Path) -> list[str]:
    """The facts for a user, one line each; unknown facts have none.

    Args:
        path: a checkpoint, or a run directory.
    """
    file = find_weights.find_file(path)
    checkpoint = checkpoints.read(file, task=None)
    facts: dict[str, str] = {"input": checkpoint.preprocess.describe()}
    if checkpoint.class_names:
        facts["names"] = format_list(checkpoint.class_names, SHOWN_CLASSES)
    if run := _run_of_best(file, checkpoint.provenance):
        facts |= dict(_of_run(run))
    else:
        known = ("published", "converted_from", "recipe", "license")
        origin = [f"{key.replace('_', ' ')} {value}" for key in known if (value := checkpoint.provenance.get(key))]
        facts |= {"metrics": _metrics_text(checkpoint.metrics), "origin": ", ".join(origin)}
    return [f"{name + ':':10}{printable(value)}" for name, value in facts.items() if value]


def _run_of_best(file: Path, provenance: Mapping[str, Any]) -> Path | None:
    """The run directory whose metrics belong to the weights in this file; None for other files, in it or of that name."""
    run = lineage.find_run_dir(file)
    if run is None or file.name != local_file.BEST.name:
        return None
    record, _ = lineage.find_split_record(file, provenance)
    return run if record is not None or not provenance else None


def _of_run(run: Path) -> Iterator[tuple[str, str]]:
    recipe, metrics = _toml(run / "recipe.toml"), _json(run / "metrics.json")
    counts_by_split = Counter(row.get("split") or "" for row in _rows(run / SPLIT_FILE))
    counts = ", ".join(f"{counts_by_split[split]:,} {split}" for split in SPLITS if counts_by_split[split])
    yield "data", f"{recipe.get('data', {}).get('location', '?')}{f': {counts} images' if counts else ''}"
    weights = recipe.get("model", {}).get("weights", "none")
    yield "weights", "random initialization" if weights == "none" else f"trained from {weights}"
    stop, done = recipe.get("stop", {}), _epochs(run)
    planned = f" of {stop['epochs']}" if "epochs" in stop and "steps" not in stop else ""
    yield "recipe", f"{recipe.get('name', '?')}, {done}{planned} epochs done"
    if metrics:
        yield "metrics", _metrics_text(metrics)
        yield "report", str(run / "report.html")
    else:
        yield "metrics", "none yet: the run has not ended"


def _metrics_text(metrics: Mapping[str, Any]) -> str:
    if not isinstance(metrics.get("top1"), int | float):
        return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, float))
    text = f"top-1 {metrics['top1']:.2%}"
    if interval := metrics.get("top1_interval"):
        text += f" (95 % interval {interval[0]:.1%} to {interval[1]:.1%})"
    count = f", {metrics['count']:,} {metrics.get('split', '')} images" if "count" in metrics else ""
    return f"{text}{count}{', ' * ('protocol' in metrics)}{metrics.get('protocol', '')}"


def _epochs(run: Path) -> int:
    try:
        rows = (run / "metrics.jsonl").read_text("utf-8").splitlines()
        return int(json.loads(rows[-1])["epoch"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0


def _rows(path: Path) -> list[dict[str, str]]:
    with (
        contextlib.suppress(OSError, csv.Error),
        path.open(encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        return list(csv.DictReader(file))
    return []


def _toml(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return tomllib.loads(path.read_text("utf-8"))
    return {}


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text("utf-8"))
        return content if isinstance(content, dict) else {}
    return {}
