"""The outputs of several batches as those of one."""

from __future__ import annotations

from typing import NamedTuple

import torch

from resnets.inference.static_graph import concatenate


class Output(NamedTuple):
    losses: dict
    objects: list


def test_outputs_of_any_form_are_joined() -> None:
    one, two = torch.arange(4).view(2, 2), torch.arange(6).view(3, 2)
    joined = torch.cat([one, two])
    assert torch.equal(concatenate([one, two]), joined)
    assert all(torch.equal(each, joined) for each in concatenate([(one, one), (two, two)]))
    found = concatenate([Output({"box": one}, ["a"]), Output({"box": two}, ["b", "c"])])
    assert isinstance(found, Output)
    assert torch.equal(found.losses["box"], joined)
    assert found.objects == ["a", "b", "c"]
    assert concatenate([one]) is one
