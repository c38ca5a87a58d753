from pathlib import Path

from tests.forked_processes import run_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "convolutions.py"


def test_all_ways_are_timed_for_each_map(tmp_path: Path) -> None:
    options = ("--threads", "1", "--images", "1", "--maps", "16x24x24", "32x20x24")
    lines = run_script(tmp_path / "log", SCRIPT, *options).splitlines()
    assert [line.split()[2] for line in lines] == ["1x16x24x24", "1x32x20x24"]
    assert all(line.count("x)") == 3 and "copies" in line for line in lines)
