from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from resnets.errors import JobError, UserError
from resnets.recipes.recipe import Optim
from resnets.training.optimization import optimizers
from resnets.training.run_dir import state_file


def test_only_the_two_latest_states_are_kept(tmp_path):
    for steps in (5, 90, 100):
        state_file.save(tmp_path, steps, {"a": torch.full((2,), float(steps))}, {"steps": steps})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000090.safetensors", "000000100.safetensors"]
    tensors, metadata = state_file.load(tmp_path)
    assert metadata == {"steps": 100}
    assert tensors["a"].tolist() == [100.0, 100.0]


def test_no_state_and_a_damaged_one_are_named(tmp_path):
    with pytest.raises(UserError, match="no state to resume from"):
        state_file.load(tmp_path)
    path = state_file.save(tmp_path, 5, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"All saved states are damaged: .*000000005.safetensors"):
        state_file.load(tmp_path)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_restored_optimizer_continues_to_the_bit(tmp_path, name):
    def trained(net: nn.Module, made: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            made.zero_grad()
            generator = torch.Generator().manual_seed(step)
            net(torch.randn(4, 3, 5, 5, generator=generator)).square().sum().backward()
            made.step()

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return net, optimizers.build_optimizer(net, Optim(name=name), lr=0.01)

    whole, whole_optimizer = fresh()
    trained(whole, whole_optimizer, range(6))
    first, first_optimizer = fresh()
    trained(first, first_optimizer, range(3))
    tensors, metadata = state_file.optimizer_state(first_optimizer)
    state_file.save(
        tmp_path, 3, state_file.add_prefix("o", tensors) | state_file.add_prefix("n", first.state_dict()), metadata
    )
    tensors, metadata = state_file.load(tmp_path)
    second, second_optimizer = fresh()
    second.load_state_dict(state_file.strip_prefix("n", tensors))
    state_file.restore_optimizer(second_optimizer, state_file.strip_prefix("o", tensors), metadata)
    trained(second, second_optimizer, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_the_random_states_of_all_libraries_are_restored(tmp_path):
    tensors, metadata = state_file.random_state()
    state_file.save(tmp_path, 1, tensors, metadata)
    drawn = (torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(3).tolist())
    tensors, metadata = state_file.load(tmp_path)
    state_file.restore_random_state(tensors, metadata)
    assert drawn == (torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(3).tolist())


@pytest.fixture
def two_states(tmp_path):
    for steps in (5, 9):
        state_file.save(tmp_path / "state", steps, {"a": torch.full((400,), float(steps))}, {"steps": steps})
    return tmp_path / "state"


def _flip(path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["bit of a tensor", "bit of the metadata", "cut", "empty", "other format"])
def test_a_damaged_latest_state_is_logged_and_the_one_before_is_used(two_states, capsys, how):
    newest = two_states / "000000009.safetensors"
    if how == "bit of a tensor":
        _flip(newest, -100)
    elif how == "bit of the metadata":
        _flip(newest, newest.read_bytes().index(b'steps\\": 9') + len(b'steps\\": '))
    elif how == "other format":
        save_file({"a": torch.zeros(3)}, newest)
    else:
        newest.write_bytes(newest.read_bytes()[:-1] if how == "cut" else b"")
    tensors, metadata = state_file.load(two_states)
    assert metadata == {"steps": 5}
    assert tensors["a"].tolist() == [5.0] * 400
    stderr = capsys.readouterr().err
    assert "000000009.safetensors' is damaged" in stderr
    assert "using the state before it, after step 5" in stderr
    assert [path.name for path in state_file.list_states(two_states)] == ["000000005.safetensors"]
    assert newest.with_suffix(".damaged").exists()


def test_a_state_of_another_version_is_not_taken_for_a_damaged_one(two_states):
    newest = two_states / "000000009.safetensors"
    save_file({"a": torch.zeros(3)}, newest, metadata={"resnets-state-1": ""})
    with pytest.raises(
        UserError, match=r"000000009.*was saved by another version of resnets: resume the run with that"
    ):
        state_file.load(two_states)
    assert newest.exists()


def test_when_all_states_are_damaged_all_are_named_and_kept(two_states):
    for path in state_file.list_states(two_states):
        _flip(path, -1)
    with pytest.raises(UserError, match=r"000000009.*its checksum does not match.*000000005"):
        state_file.load(two_states)
    assert len(state_file.list_states(two_states)) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8])
def test_tensors_of_any_dtype_and_shape_are_restored(tmp_path, dtype):
    made = {
        "scalar": torch.tensor(1).to(dtype),
        "none": torch.zeros(0, 3).to(dtype),
        "grid": torch.eye(4).to(dtype).t(),
    }
    state_file.save(tmp_path, 1, made, {})
    tensors, _ = state_file.load(tmp_path)
    assert all(torch.equal(tensors[name], value) and tensors[name].dtype == dtype for name, value in made.items())


def test_an_error_names_the_last_saved_state(two_states):
    words = r"^Cannot write x\. The state after step 9 was saved; continue with `resume="
    with pytest.raises(JobError, match=words), state_file.explain_save_errors(two_states.parent):
        raise JobError("Cannot write x.")


def test_the_path_of_a_run_to_continue_is_quoted(tmp_path):
    words = r"continue with `resume='.*/my run'`"
    with pytest.raises(JobError, match=words), state_file.explain_save_errors(tmp_path / "my run"):
        raise JobError("Cannot write x.")
