from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from resnets.errors import UserError
from resnets.train import optim, resume
from resnets.train.recipe import Optim


def test_only_the_two_newest_states_are_kept(tmp_path):
    for steps in (5, 90, 100):
        resume.save(tmp_path, steps, {"a": torch.full((2,), float(steps))}, {"steps": steps})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000090.safetensors", "000000100.safetensors"]
    tensors, facts = resume.load(tmp_path)
    assert facts == {"steps": 100}
    assert tensors["a"].tolist() == [100.0, 100.0]


def test_no_state_and_a_damaged_one_are_named(tmp_path):
    with pytest.raises(UserError, match="no state to resume from"):
        resume.load(tmp_path)
    path = resume.save(tmp_path, 5, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"No saved state is whole: .*000000005.safetensors"):
        resume.load(tmp_path)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_an_optimizer_goes_on_to_the_bit(tmp_path, name):
    def trained(net: nn.Module, made: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            made.zero_grad()
            generator = torch.Generator().manual_seed(step)
            net(torch.randn(4, 3, 5, 5, generator=generator)).square().sum().backward()
            made.step()

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return net, optim.build(net, Optim(name=name), lr=0.01)

    whole, whole_optimizer = fresh()
    trained(whole, whole_optimizer, range(6))
    first, first_optimizer = fresh()
    trained(first, first_optimizer, range(3))
    tensors, facts = resume.optimizer_state(first_optimizer)
    resume.save(tmp_path, 3, resume.prefixed("o", tensors) | resume.prefixed("n", first.state_dict()), facts)
    tensors, facts = resume.load(tmp_path)
    second, second_optimizer = fresh()
    second.load_state_dict(resume.under("n", tensors))
    resume.restore_optimizer(second_optimizer, resume.under("o", tensors), facts)
    trained(second, second_optimizer, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_random_states_of_every_library_come_back(tmp_path):
    tensors, facts = resume.random_state()
    resume.save(tmp_path, 1, tensors, facts)
    drawn = (torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(3).tolist())
    tensors, facts = resume.load(tmp_path)
    resume.restore_random(tensors, facts)
    assert drawn == (torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(3).tolist())
