"""`ensemble`: the errors of subsets against scikit-learn's and numpy's, and a copy of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tests.studies import known_images

from resnets.errors import UserError
from resnets.studies import judge_study
from resnets.studies.claims import ensemble
from resnets.studies.study import Setup


def files() -> list[Path]:
    return [known_images.checkpoint_file(blocks=1, seed=seed) for seed in range(3)]


@torch.no_grad()
def test_the_errors_are_those_of_the_mean_probabilities() -> None:
    networks, images = known_images.load(*files())
    found = ensemble.measure(Setup({}, (), networks, images))
    inputs, labels = images.stacked(known_images.PREPROCESS), images.labels.numpy()
    each = [softmax(network.net(inputs).double().numpy(), axis=1) for network in networks]
    errors = {row["networks"]: row["error"] for row in found.rows}
    assert len(errors) == 7
    assert errors[f"{networks[0].name} + {networks[2].name}"] == pytest.approx(
        100 * np.mean((each[0] + each[2]).argmax(axis=1) != labels)
    )
    alone = [100 * np.mean(one.argmax(axis=1) != labels) for one in each]
    together = 100 * np.mean(sum(each).argmax(axis=1) != labels)  # type: ignore[attr-defined]
    (gain,) = found.effects.values()
    assert gain.mean() == pytest.approx(min(alone) - together)
    assert [control.holds for control in found.controls] == [True]
    assert len(found.notes) == 4
    assert found.notes[-1].endswith(f": {together:.2f} %")


def test_more_networks_than_are_combined_are_refused() -> None:
    networks, _ = known_images.load(files()[0])
    with pytest.raises(UserError, match="at most 8 `weights`; received 9"):
        ensemble.check(networks * 9)


def test_copies_of_one_network_gain_nothing_exactly_and_decide_nothing() -> None:
    networks, images = known_images.load(*files()[:1] * 2)
    assert len({network.name for network in networks}) == 2
    found = ensemble.measure(Setup({}, (), networks, images))
    (gain,) = found.effects.values()
    assert np.abs(gain).max() == 0
    (verdict,) = judge_study.judge_all(ensemble.STUDY, found, 0.05).values()
    assert (verdict.word, verdict.reason.partition(" are ")[0]) == ("undecided", "0 images")


def test_a_file_that_is_given_twice_is_refused() -> None:
    networks, _ = known_images.load(files()[0], files()[1], files()[0])
    with pytest.raises(UserError, match="are the same file; give different `weights`"):
        ensemble.check(networks)


def test_an_ensemble_that_is_not_one_of_copies_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, images = known_images.load(*files())
    real = ensemble.wrong
    monkeypatch.setattr(ensemble, "wrong", lambda members, labels: real([1 - members[-1]], labels) if len(members) == 2
                        else real(members, labels))  # fmt: skip
    assert [control.holds for control in ensemble.measure(Setup({}, (), networks, images)).controls] == [False]
