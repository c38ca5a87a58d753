"""A training by `resnets train`; its speed is that of the last epoch, as the metrics of the run have it."""

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
row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
report(row["images_per_second"], 1.0, epoch=row, log=done.stderr.splitlines()[:20])
