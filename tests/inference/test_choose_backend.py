"""The rule: the same job is computed alike whenever it comes, and what is asked for is done."""

from __future__ import annotations

import pytest
import torch

from resnets.errors import UserError
from resnets.inference import choose_backend
from resnets.inference.choose_backend import LONG_PIXELS, REFERENCE, choose

CPU, ALL = "cpu", ("torch", "compile", "openvino")


def words(**job: object) -> list[str]:
    facts = {"device": CPU, "installed": ALL, "pixels": LONG_PIXELS, "native_bf16": True, **job}
    return [str(each) for each in choose(**facts)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        ({}, ["openvino bf16", "torch bf16", "openvino fp32", "reference fp32"]),
        ({"native_bf16": False}, ["openvino fp32", "reference fp32"]),
        ({"installed": ("torch", "compile")}, ["torch bf16", "reference fp32"]),
        ({"installed": ("torch",), "native_bf16": False}, ["reference fp32"]),
        ({"device": "cuda"}, ["torch bf16", "reference fp32"]),
        ({"device": "mps", "native_bf16": False}, ["reference fp32"]),
        ({"pixels": LONG_PIXELS - 1}, ["reference fp32"]),
        ({"pixels": 0}, ["reference fp32"]),
        ({"precision": "fp32"}, ["reference fp32"]),
        ({"precision": "fp32", "exact": False}, ["openvino fp32", "reference fp32"]),
        ({"precision": "fp32", "exact": False, "pixels": 1}, ["reference fp32"]),
        ({"precision": "fp32", "exact": False, "device": "cuda"}, ["reference fp32"]),
        ({"precision": "bf16", "native_bf16": False}, ["openvino bf16", "torch bf16"]),
        ({"precision": "bf16", "pixels": 1}, ["torch bf16"]),
        ({"backend": "compile"}, ["compile bf16"]),
        ({"backend": "compile", "native_bf16": False, "pixels": 1}, ["compile fp32"]),
        ({"backend": "torch", "precision": "fp32"}, ["torch fp32"]),
    ],
)
def test_the_rule(job: dict[str, object], wanted: list[str]) -> None:
    assert words(**job) == wanted


def test_bf16_may_move_no_probability_by_more_than_a_hundredth() -> None:
    assert choose_backend.TOLERANCE["bf16"] == 0.01
    assert REFERENCE.precision == "fp32"


def test_unknown_backends_and_precisions() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(UserError, match=r"bf16.*received 'bf17'"):
        choose_backend.check("auto", "bf17", cpu)
    with pytest.raises(UserError, match="no backend 'tourch'"):
        choose_backend.check("tourch", "auto", cpu)


def test_agreement_counts_labels_and_measures_distances() -> None:
    found = choose_backend.agreement(
        torch.tensor([[2.0, 0], [0, 1], [5, 0], [0, 3]]), torch.tensor([[2.0, 0], [1, 0], [5, 0], [0, 3]])
    )
    assert (found.images, found.same, found.logit) == (4, 0.75, 1.0)
    assert found.probability == pytest.approx(0.4621, abs=1e-4)  # sigmoid(1) - sigmoid(-1)


def test_a_low_temperature_makes_the_distance_of_probabilities_larger() -> None:
    logits, wanted = torch.tensor([[0.1, 0.0]]), torch.tensor([[0.0, 0.0]])
    plain, sharp = (choose_backend.agreement(logits, wanted, temperature=each).probability for each in (1.0, 0.1))
    assert plain < 0.03 < 0.2 < sharp
