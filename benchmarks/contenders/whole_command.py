"""Time a command from its start to its end, and then, for detection, the AP of the boxes that it found.

    whole_command.py --images N [--metrics | --found FILE --annotations FILE] COMMAND ...

The AP is that of `--found`, detections in COCO's format, or with `--metrics` `box_ap` in the JSON that the
command prints. It is computed after the command has ended, so it is in no time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import children_cpu_seconds, report


def box_ap(found: str, annotations: str) -> float:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(annotations)
    rows = json.loads(Path(found).read_text())
    if isinstance(rows, dict):  # with images and categories of its own
        names = {each["id"]: Path(each["file_name"]).name for each in rows["images"]}
        ids = {each["file_name"]: each["id"] for each in truth.dataset["images"]}
        rows = [{**each, "image_id": ids[names[each["image_id"]]]} for each in rows["annotations"]]
    evaluation = COCOeval_faster(truth, truth.loadRes(rows), iouType="bbox")
    evaluation.run()
    return float(evaluation.stats[0])


parser = argparse.ArgumentParser()
parser.add_argument("--images", type=int, required=True)
parser.add_argument("--metrics", action="store_true")
parser.add_argument("--found")
parser.add_argument("--annotations")
parser.add_argument("command", nargs=argparse.REMAINDER)
options = parser.parse_args()
start = time.perf_counter()
done = subprocess.run(options.command, check=True, capture_output=True, text=True)
seconds, cpu_seconds = time.perf_counter() - start, children_cpu_seconds()
more: dict[str, Any] = {}
if options.metrics:
    printed = json.loads(done.stdout[done.stdout.index("{") :])
    more["accuracy"] = printed.get("metrics", printed)["box_ap"]
if options.found:
    more["accuracy"] = box_ap(options.found, options.annotations)
report(options.images, seconds, cpu_seconds=cpu_seconds, log=done.stderr.splitlines()[:20], **more)
