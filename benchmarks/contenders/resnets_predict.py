"""A folder through `resnets predict`, with its defaults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

folder, checkpoint, out = sys.argv[1:4]
command = [str(Path(sys.executable).with_name("resnets")), "predict", checkpoint, folder, "--csv", out]
log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
report(len(Path(out).read_text().splitlines()) - 1, None, log=log.splitlines()[:20])
