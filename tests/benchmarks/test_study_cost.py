from pathlib import Path

from tests.forked_processes import run_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "study_cost.py"


def test_each_network_of_a_study_is_estimated_and_timed(tmp_path: Path) -> None:
    words = ("--studies", "stochastic", "--protocol", "minutes", "--steps", "1")
    lines = run_script(tmp_path / "log", SCRIPT, *words).splitlines()
    assert [line.split()[1] for line in lines] == ["without", "stochastic", "sum"]
    assert all("estimated" in line and "measured" in line for line in lines)
