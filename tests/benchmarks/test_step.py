from __future__ import annotations

import os
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


def test_the_variants_are_compared_with_plain_pytorch() -> None:
    """`torch.compile` takes most of a minute for these steps, and leaves them as they are here."""
    command = [sys.executable, str(SCRIPT), "tiny", "--batch", "2", "--imgsz", "16", "--steps", "1", "--variants"]
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1"}
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    rates = [line for line in lines if "images/s" in line]
    assert rates[0].endswith("plain PyTorch: fp32, torch's layout, SGD not fused")
    assert "1.00x" in rates[0]
    assert len(rates) == sum(line.startswith("first step") for line in lines) >= 5
