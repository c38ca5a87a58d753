"""The rule: the same job is computed alike whenever it comes, and what is asked for is done."""

from __future__ import annotations

import pytest
import torch

from resnets.errors import UserError
from resnets.inference import choose_backend
from resnets.inference.choose_backend import LONG_PIXELS, choose

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
        ({"native_bf16": False, "mostly_winograd": True}, ["torch fp32", "reference fp32"]),
        ({"native_bf16": False, "mostly_winograd": True, "pixels": 1}, ["reference fp32"]),
        ({"precision": "fp32", "mostly_winograd": True}, ["reference fp32"]),
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


def test_unknown_backends_and_precisions() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(UserError, match=r"bf16.*received 'bf17'"):
        choose_backend.check("auto", "bf17", cpu)
    with pytest.raises(UserError, match="no backend 'tourch'"):
        choose_backend.check("tourch", "auto", cpu)
