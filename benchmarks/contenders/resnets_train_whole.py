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
accuracy = json.loads((run / "metrics.json").read_text())["top1"]
report(1, None, accuracy=accuracy, said=done.stderr.splitlines()[:20])
