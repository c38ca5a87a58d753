"""The largest memory of one `resnets predict` of a folder, in bytes.

The backend is fixed, since a longer job is compiled by default, and the memory of the compiler would be measured.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report

folder, checkpoint = sys.argv[1:3]
command = [
    str(Path(sys.executable).with_name("resnets")),
    "predict",
    checkpoint,
    folder,
    "--jsonl",
    "-",
    "--backend",
    "torch",
]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
report(peak, 1.0)
