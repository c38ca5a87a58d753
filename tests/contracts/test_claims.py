"""`docs/claims.md`: its studies exist, and its numbers are those of the files of results."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from scipy import stats

from resnets.studies import registry
from resnets.studies.trainings.training import read_rows

DOCS = Path(__file__).resolve().parents[2] / "docs"
INTERVAL = re.compile(r"([+-]?\d+(?:\.\d+)?) \[([+-]?\d+(?:\.\d+)?), ([+-]?\d+(?:\.\d+)?)\]")

if not DOCS.is_dir():
    pytest.skip("the package is installed without its documents", allow_module_level=True)
RESULTS = [json.loads(path.read_text("utf-8")) for path in sorted((DOCS / "study_results").glob("*.json"))]


@pytest.fixture(scope="module")
def collector() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect_results", DOCS / "collect_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_study_that_is_named_exists() -> None:
    text = (DOCS / "claims.md").read_text("utf-8")
    column = [row.split("|")[4] for row in text.splitlines() if re.match(r"\| \d+ \|", row)]
    assert len(column) >= 12
    named = {name for cell in column for name in re.findall(r"`([^`]+)`", cell)}
    assert named <= registry.STUDIES.keys()
    assert {result["study"] for result in RESULTS} <= registry.STUDIES.keys()


def test_every_study_is_measured_or_has_the_command_to_run_it() -> None:
    (section,) = re.findall(
        r"^## Not run yet\n(.*?)^## ", (DOCS / "claims.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    named = set(re.findall(r"\| `resnets study ([\w-]+) ", section))
    assert registry.STUDIES.keys() - named == {result["study"] for result in RESULTS} - named


def test_the_table_is_that_of_the_files(collector: ModuleType) -> None:
    assert collector.table() in (DOCS / "claims.md").read_text("utf-8")


def terms(study: str, subject: str) -> tuple[str, list[str], list[str]]:
    """The column with the errors of a subject, the networks whose errors are added, and those whose are subtracted."""
    if study == "degradation":
        column = {"training error": "train_error", "test error": "test_error"}[subject]
        return column, ["plain-56", "residual-20"], ["plain-20", "residual-56"]
    if study == "shortcuts":
        return "test_error", [subject], ["original"]
    if study == "highway":
        depth = subject.split()[0]
        return "test_error", [f"highway-{depth}"], [f"residual-{depth}"]
    raise ValueError(f"no terms are known for the study '{study}'")


TRAININGS = sorted((DOCS / "study_results" / "trainings").glob("*.csv"))


@pytest.mark.parametrize("file", TRAININGS, ids=lambda file: file.stem)
def test_the_rows_of_the_trainings_give_the_intervals(file: Path) -> None:
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["test_error"]]
    last = {(row["network"], int(row["seed"])): row for row in rows}
    (result,) = [each for each in RESULTS if each["study"] == file.stem]
    for subject, verdict in result["verdicts"].items():
        column, added, subtracted = terms(file.stem, subject)
        seeds = sorted(seed for name, seed in last if name == added[0])
        assert len(seeds) == verdict["interval"]["num_values"]
        sums = [
            [sum(float(last[name, seed][column]) for name in names) for seed in seeds] for names in (added, subtracted)
        ]
        interval = stats.ttest_rel(*sums).confidence_interval(verdict["confidence"])
        assert verdict["interval"]["low"] == pytest.approx(interval.low)
        assert verdict["interval"]["high"] == pytest.approx(interval.high)


@pytest.mark.parametrize("file", TRAININGS, ids=lambda file: file.stem)
def test_the_rows_of_the_trainings_are_found_again(file: Path) -> None:
    """By `--rows` and the recipes as they are now, with the images that are registered."""
    study = registry.STUDIES[file.stem]
    assert study.runs is not None
    # All studies of the page that train were trained on the same images.
    (digest,) = {result["registered"]["pixels_sha256"] for result in RESULTS if "trainings" in result["registered"]}
    ((protocol, seeds),) = [
        (each["protocol"], each["registered"]["seeds"]) for each in RESULTS if each["study"] == study.name
    ]
    trainings = {each.fingerprint(digest): each for each in study.runs(study.protocols[protocol], range(seeds))}
    rows = read_rows([file])
    assert rows.keys() == trainings.keys()
    for key, own in rows.items():
        training = trainings[key]
        assert {(row["network"], row["seed"]) for row in own} == {(training.network, training.recipe.seed)}


def test_the_errors_of_degradation_are_those_of_its_trainings() -> None:
    path = DOCS / "study_results" / "trainings" / "degradation.csv"
    last = {(own[0]["network"], own[0]["seed"]): own[-1] for own in read_rows([path]).values()}
    lines = []
    for name in ("plain-20", "plain-56", "residual-20", "residual-56"):
        train, test = (
            ", ".join(f"{last[name, seed][key]:.2f}" for seed in range(3)) for key in ("train_error", "test_error")
        )
        lines.append(f"| {name} | {train} | {test} |")
    assert "\n".join(lines) in (DOCS / "claims.md").read_text("utf-8")


def test_an_early_end_of_degradation_would_have_been_undecided() -> None:
    """After 100 steps the gap of the residual networks is the larger one, in each seed."""
    (result,) = [each for each in RESULTS if each["study"] == "degradation"]
    rows = read_rows([DOCS / "study_results" / "trainings" / "degradation.csv"]).values()
    errors = {(own[0]["network"], own[0]["seed"]): own[0]["running_error"] for own in rows if own[0]["step"] == 100}
    gaps = [
        errors["plain-56", seed] - errors["plain-20", seed] - errors["residual-56", seed] + errors["residual-20", seed]
        for seed in range(3)
    ]
    assert max(gaps) < 0
    text = (DOCS / "claims.md").read_text("utf-8")
    by_step = {(own[0]["network"], own[0]["seed"]): {row["step"]: row["running_error"] for row in own} for own in rows}
    lowest = [
        min(
            by_step["plain-56", seed][step]
            - by_step["plain-20", seed][step]
            - by_step["residual-56", seed][step]
            + by_step["residual-20", seed][step]
            for step in range(100, 3001, 100)
        )
        for seed in range(3)
    ]
    assert "it falls to {:.1f}, {:.1f} and {:.1f} in the seeds 0, 1 and 2".format(*lowest) in text
    assert f"after 100 steps, by the running training error: undecided, {sum(gaps) / 3:.1f} points" in result["notes"]


def matches(printed: tuple[str, str, str], interval: dict[str, float]) -> bool:
    """Whether the three printed numbers are those of the interval, rounded as they are printed."""
    values = (interval["effect"], interval["low"], interval["high"])
    return all(
        value is not None
        and (abs(float(text) - value) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9 or f"{value:.3g}" == text)
        for text, value in zip(printed, values, strict=True)
    )


def test_every_interval_is_one_of_a_file() -> None:
    found = INTERVAL.findall((DOCS / "claims.md").read_text("utf-8"))
    assert found
    verdicts = [verdict for result in RESULTS for verdict in result["verdicts"].values()]
    notes = {interval for result in RESULTS for note in result["notes"] for interval in INTERVAL.findall(note)}
    for printed in found:
        assert printed in notes or any(matches(printed, verdict["interval"]) for verdict in verdicts), printed


def test_a_changed_number_is_found() -> None:
    interval = {"effect": 22.74, "low": 20.26, "high": 25.2, "num_values": 500}
    assert matches(("22.7", "20.3", "25.2"), interval)
    assert not matches(("22.8", "20.3", "25.2"), interval)


def test_each_file_says_how_it_was_made() -> None:
    for result in RESULTS:
        assert result["command"].startswith(f"resnets study {result['study']} ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])
        assert result["machine"]["processor"]
        assert all(control["holds"] for control in result["controls"])
        assert "/tmp" not in json.dumps(result)


def test_the_table_of_the_fast_recipe_is_that_of_its_trainings() -> None:
    path = DOCS.parent / "benchmarks" / "results" / "recipes" / "cifar_fast.json"
    runs = [each for each in json.loads(path.read_text("utf-8"))["runs"] if each["steps"] == 237]
    assert [each["seed"] for each in runs] == [0, 1, 2, 3, 4]
    columns = [[each[key] for each in runs] for key in ("single_view", "six_views")]
    lines = [(str(each["seed"]), each["single_view"], each["six_views"]) for each in runs]
    lines.append(("mean", *(sum(values) / 5 for values in columns)))
    expected = "\n".join(f"| {name} | {one:.2f} % | {six:.2f} % |" for name, one, six in lines)
    assert expected in (DOCS / "recipes.md").read_text("utf-8")
    assert lines[-1][2] >= 94
