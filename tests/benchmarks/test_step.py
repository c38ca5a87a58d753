from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "step.py"


def test_it_says_where_the_time_of_a_step_goes() -> None:
    command = [sys.executable, str(SCRIPT), "cifar_resnet20", "--batch", "4", "--imgsz", "16", "--steps", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    first, *rows = done.stdout.splitlines()
    assert first.startswith("cifar_resnet20, ")
    shares = [float(row.split("%")[0]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert any(row.endswith("aten::convolution_backward") for row in rows)
    assert 50 < sum(shares) <= 100.1
