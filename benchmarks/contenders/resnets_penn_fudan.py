"""Faster R-CNN from random weights on Penn-Fudan, until the AP50 of an epoch's validation reaches 0.50.

    resnets_penn_fudan.py FOLDER SPLIT_FILE OUT SECONDS_FILE

The training is ended there. Its time is written to SECONDS_FILE, for the limit of the peer.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

GOAL = 0.50
folder, split, out, seconds_file = map(Path, sys.argv[1:])
run = out / f"penn_fudan-{time.time_ns()}"
command = [str(Path(sys.executable).with_name("resnets")), "train", str(folder), "--model", "fasterrcnn_light_resnet18"]
command += ["--weights", "none", "--split-file", str(split), "--epochs", "60", "--out", str(out), "--name", run.name]
start = time.perf_counter()
process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
metrics = run / "metrics.jsonl"
found: list[float] = []
while process.poll() is None and max(found, default=0) < GOAL:
    time.sleep(1)
    if metrics.exists():
        found = [json.loads(line)["val/box_ap50"] for line in metrics.read_text().splitlines()]
seconds = time.perf_counter() - start
if process.poll() is None:
    process.send_signal(signal.SIGINT)
    process.wait()
if max(found, default=0) < GOAL:
    raise SystemExit(f"AP50 is {max(found, default=0):.2f} after {len(found)} epochs")
seconds_file.write_text(json.dumps(seconds))
report(1, seconds, box_ap50=found)
