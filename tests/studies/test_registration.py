"""`study.toml`: what is in it, and what may not change."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.studies import registration, registry
from resnets.studies.study import Setup


def register(folder: Path, name: str = "shattering", seeds: int = 3, protocol: str = "short") -> None:
    study = registry.find(name)
    setup = Setup(study.protocols[protocol], range(seeds))
    registration.register(folder, registration.content(study, protocol, setup))


def test_the_rule_is_in_it_and_seeds_may_grow(tmp_path: Path) -> None:
    register(tmp_path)
    before = tomllib.loads((tmp_path / "study.toml").read_text())
    assert before["seeds"] == 3
    assert before["direction"] == "greater than 0"
    assert {"claim", "paper", "statistic", "level", "control", "protocol", "smallest_effect"} <= before.keys()
    assert before["undecided_if"] == "a control fails"
    register(tmp_path, seeds=5)
    after = tomllib.loads((tmp_path / "study.toml").read_text())
    assert after == before | {"seeds": 5}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"protocol": "minutes"}, "protocol is"),
        ({"name": "gradients"}, "study is"),
    ],
)
def test_another_study_is_refused(change: dict, key: str, tmp_path: Path) -> None:
    register(tmp_path, seeds=5)
    before = (tmp_path / "study.toml").read_bytes()
    with pytest.raises(UserError, match=f"{key}.*`out`"):
        register(tmp_path, **({"seeds": 5} | change))
    assert (tmp_path / "study.toml").read_bytes() == before


def test_fewer_seeds_than_were_registered_are_refused_with_their_number(tmp_path: Path) -> None:
    register(tmp_path, seeds=5)
    with pytest.raises(UserError, match=r"registers 5 seeds; received 3\. Give `seeds=5`"):
        register(tmp_path, seeds=3)


def test_a_damaged_registration_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("study = ")
    with pytest.raises(UserError, match=r"study\.toml' cannot be read"):
        register(tmp_path)
