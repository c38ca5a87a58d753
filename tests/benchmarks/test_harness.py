"""The comparison itself, with small real processes as contenders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import harness
import pytest
import table
from harness import Contender, Job, compare


def says(line: str, *, log: Path | None = None, name: str = "") -> tuple[str, ...]:
    """The command of a contender that prints a line, and notes in a file that it was its turn."""
    note = f"open({str(log)!r}, 'a').write({name + ' '!r});" if log else ""
    return (sys.executable, "-S", "-c", f"{note}print('a word before'); print({line!r})")


def in_turn(log: Path, *amounts: float) -> tuple[str, ...]:
    """The command of a contender that measures another amount each time it runs."""
    code = (
        f"import json, os; open({str(log)!r}, 'a').write('x'); "
        f"print(json.dumps({{'amount': {list(amounts)}[os.path.getsize({str(log)!r}) - 1], 'seconds': 1}}))"
    )
    return (sys.executable, "-S", "-c", code)


def measured(amount: float, seconds: float | None = 1.0, **more: object) -> str:
    return json.dumps({"amount": amount, "seconds": seconds, **more})


def job(*contenders: Contender, **more: object) -> Job:
    return Job("one", "the one job", "images/s", contenders, **more)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Ours, a peer, one that fails, one that is not installed and one that lacks a module: two rounds of them."""
    folder = tmp_path_factory.mktemp("mixed")
    log = folder / "turns"
    said = f"wrote {folder}/weights.bin at 3 images/s"
    contenders = (
        Contender("ours", says(measured(30, accuracy=0.9, said=said), log=log, name="A")),
        Contender("peer", says(measured(10, accuracy=0.87), log=log, name="B"), 2.0),
        Contender("broken", (sys.executable, "-S", "-c", "import nothing_of_this_name")),
        Contender("homeless", ("/no/such/python", "x.py"), 3.0),
        Contender("lacking", (sys.executable, "-c", ""), 3.0, ("json", "no_such_module")),
        Contender("slow", says(measured(60), log=log, name="C"), 1.0),
    )  # fmt: skip
    result = compare(job(*contenders, points=1.0), rounds=2, results=folder / "results")
    return result, folder, log.read_text()


def test_contenders_take_turns(mixed):
    assert mixed[2] == "A B C A B C "


def test_ratios_are_ours_divided_by_the_peers(mixed):
    ratios = mixed[0]["ratios"]
    assert ratios == {"peer": {"measured": 3.0, "target": 2.0}, "slow": {"measured": 0.5, "target": 1.0}}


def test_one_that_fails_is_named_with_its_reason_and_stops_nobody(mixed):
    failed = mixed[0]["failed"]
    assert list(failed) == ["broken"]
    assert "nothing_of_this_name" in failed["broken"]
    assert len(mixed[0]["runs"]["slow"]) == 2


def test_one_that_is_not_installed_is_named_with_what_it_needs(mixed):
    absent = mixed[0]["absent"]
    assert set(absent) == {"homeless", "lacking"}
    assert "environment" in absent["homeless"]
    assert "no_such_module" in absent["lacking"]
    assert "json" not in absent["lacking"]


def test_the_file_holds_the_machine_and_versions_but_no_folders(mixed):
    folder = mixed[1]
    text = (folder / "results" / "one.json").read_text()
    kept = json.loads(text)
    assert str(folder) not in text
    assert kept["runs"]["ours"][0]["said"] == "wrote weights.bin at 3 images/s"
    assert kept["machine"]["cores"] >= 1
    assert kept["machine"]["memory_bytes"] > 2**20
    assert kept["versions"]["ours"]["torch"]
    assert [path.name for path in (folder / "results").iterdir()] == ["one.json"]


def test_the_table_names_everyone(mixed):
    lines = table.text(mixed[1] / "results").splitlines()
    peer = next(line for line in lines if " peer " in line)
    assert peer.split()[-3:] == ["3.00x", "2.00x", "reached"]
    assert "NOT reached" in next(line for line in lines if " slow " in line)
    assert any("broken failed: " in line for line in lines)
    assert any("homeless was skipped: " in line for line in lines)
    assert any("90.00%, peer 87.00%: +3.00 points (NOT within 1 as required)" in line for line in lines)


def test_the_image_is_drawn(mixed, tmp_path):
    table.draw(mixed[1] / "results", tmp_path / "images" / "ratios.png")
    assert (tmp_path / "images" / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_the_median_of_the_rounds_counts(tmp_path):
    contenders = (Contender("ours", in_turn(tmp_path / "count", 1, 90, 10)), Contender("peer", says(measured(5))))
    result = compare(job(*contenders), rounds=3, results=tmp_path)
    assert result["median"]["ours"] == 10
    assert result["ratios"]["peer"]["measured"] == 2.0


def test_a_first_run_is_timed_apart(tmp_path):
    contenders = (Contender("ours", in_turn(tmp_path / "count", 5, 10, 20, 40)), Contender("peer", says(measured(5))))
    result = compare(job(*contenders, first=True), rounds=3, results=tmp_path / "results")
    assert result["first"]["rate"] == 5
    assert [each["rate"] for each in result["runs"]["ours"]] == [10, 20, 40]
    assert result["ratios"]["peer"]["measured"] == 4.0
    assert "0.25 of that rate" in table.text(tmp_path / "results")


def test_a_first_run_that_fails_is_named(tmp_path):
    contenders = (
        Contender("ours", (sys.executable, "-S", "-c", "import nothing")),
        Contender("peer", says(measured(5))),
    )
    result = compare(job(*contenders, first=True), rounds=1, results=tmp_path)
    assert list(result["failed"]) == ["ours"]
    assert (result["first"], result["runs"]["ours"]) == (None, [])


def test_without_seconds_the_whole_process_is_timed(tmp_path):
    code = 'print(\'{"amount": 3, "seconds": null}\')'
    result = compare(job(Contender("ours", (sys.executable, "-S", "-c", code))), rounds=1, results=tmp_path)
    (run,) = result["runs"]["ours"]
    assert run["rate"] == 3 / run["wall_seconds"]


@pytest.mark.parametrize("line", ["no json", "{}", '{"amount": 1, "seconds": 0}', "[1]"])
def test_a_line_that_is_no_measurement_is_a_failure(tmp_path, line):
    result = compare(job(Contender("ours", says(line))), rounds=1, results=tmp_path)
    assert "not a measurement" in result["failed"]["ours"]


def test_a_failing_contender_of_ours_leaves_no_ratio(tmp_path):
    contenders = (Contender("ours", (sys.executable, "-S", "-c", "1/0")), Contender("peer", says(measured(5)), 2.0))
    result = compare(job(*contenders), rounds=1, results=tmp_path)
    assert result["ratios"] == {}
    assert "ours failed: it ended with 1" in table.text(tmp_path)


def test_a_limit_is_reached_from_below():
    row = table.Row("memory", "itself", 1.02, 1.05, limit=True)
    assert row.reached
    assert not table.Row("memory", "itself", 1.2, 1.05, limit=True).reached
    assert table.Row("speed", "timm", 1.2, None, limit=False).reached is None


def test_an_old_result_survives_a_write_that_cannot_be_done(tmp_path):
    (tmp_path / "one.json").write_text("old")
    with pytest.raises(TypeError):
        harness._write(tmp_path / "one.json", {"not": object()})
    assert (tmp_path / "one.json").read_text() == "old"


def test_modules_are_looked_for_in_the_python_that_has_to_have_them():
    here = (sys.executable, "-c", "")
    assert harness._lacking(Contender("peer", here, None, ("json",))) == ""
    assert "environment" in harness._lacking(Contender("peer", here, None, ("json",), "no/python"))


def test_the_results_that_are_kept_make_a_table():
    text = table.text(harness.RESULTS)
    assert all(row.title in text for result in table.found(harness.RESULTS) for row in table.rows(result))
