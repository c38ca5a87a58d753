import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pooling.py"


def test_both_ways_are_timed_for_each_size() -> None:
    command = [sys.executable, str(SCRIPT), "--regions", "2", "--channels", "4", "--sides", "8", "12"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["8x8", "12x12"]
    assert all("roi_align" in line and "products" in line for line in lines)
