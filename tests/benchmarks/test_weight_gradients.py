from pathlib import Path

from tests.forked_processes import run_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "weight_gradients.py"


def test_both_ways_are_timed_for_each_map(tmp_path: Path) -> None:
    lines = run_script(tmp_path / "log", SCRIPT, "--threads", "1", "--maps", "16x64x64", "32x20x24").splitlines()
    assert [line.split()[2] for line in lines] == ["2x16x64x64", "2x32x20x24"]
    assert all("channels_last" in line and "copies" in line for line in lines)
