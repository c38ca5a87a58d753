"""A study from its arguments to its files."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.in_soak import only_in_soak
from tests.studies import known_images

import resnets
from resnets.errors import UserError
from resnets.studies import registry, run_study
from resnets.studies.measurements.lesion_variants import SINGLE
from resnets.studies.study import PROTOCOLS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a study of a known network."""
    out = tmp_path_factory.mktemp("out")
    files = [known_images.checkpoint_file(), known_images.checkpoint_file("cifar_resnet20", blocks=1)]
    result = resnets.study("lesion", protocol="minutes", weights=files, data=known_images.folder(), out=out)
    assert result.folder == out / "lesion"
    return result.folder


def test_the_files_agree(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "study.toml", "values.csv", "figure.png", "report.md", "results.json"
    }  # fmt: skip
    registered = tomllib.loads((folder / "study.toml").read_text())
    results = json.loads((folder / "results.json").read_text())
    assert results["registered"] == registered
    rows = list(csv.DictReader((folder / "values.csv").open()))
    assert {row["network"] for row in rows} == set(results["verdicts"])
    report = (folder / "report.md").read_text()
    for subject, verdict in results["verdicts"].items():
        assert verdict["confidence"] == 0.975  # two networks divide the 5 %
        assert f"| {subject} |" in report
        assert f"| {verdict['word']}{f' ({reason})' if (reason := verdict['reason']) else ''} |" in report
        own = [
            float(row["added_error"])
            for row in rows
            if (row["network"], row["kind"], row["keeps_shape"]) == (subject, SINGLE, "True")
        ]
        assert verdict["interval"]["effect"] == pytest.approx(sum(own) / len(own))
    with Image.open(folder / "figure.png") as figure:
        assert figure.size == (1500, 900)


def test_the_rule_is_written_before_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(_: object) -> None:
        assert (tmp_path / "shattering" / "study.toml").exists()
        raise KeyboardInterrupt

    study = registry.find("shattering")
    monkeypatch.setitem(registry.STUDIES, "shattering", type(study)(**{**vars(study), "measure": measure}))
    with pytest.raises(KeyboardInterrupt):
        run_study.run("shattering", out=tmp_path)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lesoin", {}, "no study 'lesoin'. Did you mean 'lesion'"),
        ("lesion", {}, "give `data`"),
        ("lesion", {"seeds": 5, "data": "digits"}, "`seeds` has no effect on 'lesion'"),
        ("ensemble", {"data": "digits"}, "at least 2 trained networks; give their `weights`"),
        ("gradients", {"weights": ["x"]}, "builds its own networks; leave out `weights`"),
        ("shattering", {"data": "digits"}, "needs no images; leave out `data`"),
        ("shattering", {"protocol": "papers"}, "`protocol` is one of paper, short, minutes; received 'papers'"),
        ("shattering", {"seeds": 4}, "`seeds` is 3, 5 or 8"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run_study.run(name, **arguments, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["responses", "landscape", "paths", "skipping"])
def test_networks_that_do_not_fit_leave_the_folder_free(name: str, tmp_path: Path) -> None:
    plain = known_images.checkpoint_file("cifar_plain20", blocks=1)
    with pytest.raises(UserError):
        run_study.run(name, weights=[plain, plain], data=known_images.folder(), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_leave_the_folder_free(tmp_path: Path) -> None:
    image = next(known_images.folder().rglob("*.png"))
    (tmp_path / "data" / "ant").mkdir(parents=True)
    shutil.copy(image, tmp_path / "data" / "ant")
    with pytest.raises(UserError, match=r"'shattering-images' needs 2 labeled images; '.*data' has 1"):
        run_study.run("shattering-images", data=tmp_path / "data", out=tmp_path / "out")
    assert not (tmp_path / "out" / "shattering-images").exists()


def test_one_file_needs_no_list(tmp_path: Path) -> None:
    file = known_images.checkpoint_file()
    result = resnets.study("paths", protocol="minutes", weights=str(file), data=known_images.folder(), out=tmp_path)
    assert list(result.verdicts) == ["cifar_resnet20"]
    assert (
        result.measurement.notes[-1]
        == f"measured on 16 images of {known_images.folder()}, split all (there is no split)"
    )


TRAINING = [name for name, study in registry.STUDIES.items() if study.runs]


@pytest.mark.parametrize("name", [pytest.param(name, marks=only_in_soak("20 s")) for name in TRAINING])
def test_a_study_that_trains_works_on_the_digits(name: str, tmp_path: Path) -> None:
    result = resnets.study(name, protocol="minutes", data="digits", out=tmp_path, only_seed=0)
    registered = tomllib.loads((result.folder / "study.toml").read_text())
    assert (registered["protocol_steps"], registered["protocol_imgsz"]) == (20, 8)
    assert all(control.holds for control in result.measurement.controls if "seed 0" in control.name)
    assert {each.word for each in result.verdicts.values()} == {"undecided"}
    assert (result.folder / "figure.png").exists()


def test_the_protocol_is_as_it_is_written_except_for_the_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = registry.find("degradation")
    assert run_study._numbers(study, "minutes", "digits")["steps"] == 20
    assert run_study._numbers(study, "short", "digits") == study.protocols["short"]
    assert run_study._numbers(study, "minutes", "cifar10") == study.protocols["minutes"]
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_study._numbers(study, "minutes", "digits") == study.protocols["minutes"]


def test_the_studies_that_may_stay_undecided_register_when() -> None:
    """Those whose own tests measure a case in which nothing is decided."""
    found = {name for name, study in registry.STUDIES.items() if study.rule.undecided_if}
    assert found == registry.STUDIES.keys() - {
        "gradients",
        "training-gradients",
        "shattering",
        "shattering-images",
        "depth",
    }


def test_every_study_says_what_it_needs() -> None:
    for name, study in registry.STUDIES.items():
        assert name == study.name
        assert set(study.protocols) == set(PROTOCOLS)
        # The cost of trainings is computed.
        assert set(study.cost) == (set() if study.runs else set(PROTOCOLS))
        assert study.rule.smallest_effect > 0
        assert ("images" in study.protocols["paper"]) == (study.data != "")
        assert study.claim.endswith(".")
