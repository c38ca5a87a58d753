"""A training by `resnets train` from beginning to end, its start and its report included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

out, *arguments = sys.argv[1:]
command = [str(Path(sys.executable).with_name("resnets")), "train", *arguments, "--out", out]
done = subprocess.run(command, check=True, capture_output=True, text=True)
run = Path(done.stdout.strip().splitlines()[-1])
rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
accuracies = [row["val/accuracy_top1"] for row in rows]
report(1, None, accuracy=accuracies[-1], best_accuracy=max(accuracies), log=done.stderr.splitlines()[:20])
