from pathlib import Path

from tests.forked_processes import run_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pooling.py"


def test_both_ways_are_timed_for_each_size(tmp_path: Path) -> None:
    words = ("--regions", "2", "--channels", "4", "--sides", "8", "12")
    lines = run_script(tmp_path / "log", SCRIPT, *words).splitlines()
    assert [line.split()[1] for line in lines] == ["8x8", "12x12"]
    assert all("roi_align" in line and "products" in line for line in lines)
