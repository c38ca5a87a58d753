"""What is chosen for which job, why, and what is remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from resnets.engine import choice, engines, machine
from resnets.engine.choice import Measured, Memory
from resnets.engine.engines import Engine
from resnets.engine.folding import Body
from resnets.errors import JobError, UserError
from resnets.models.resnet import ResNet

MILLION = 10**6


@pytest.fixture(autouse=True)
def without_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine of torch alone, where a test does not say otherwise: nothing is compiled for minutes."""
    monkeypatch.setattr(engines, "available", lambda device: ("torch",))


def remember(net: ResNet, **seconds_and_rates: tuple[float, float]) -> Path:
    memory = Memory(net, (4, 3, 32, 32))
    memory.write({name.replace("_", " "): Measured(*each) for name, each in seconds_and_rates.items()})
    return memory.path


def chosen(net: ResNet, probe: Tensor, count: int = MILLION, **asked: str) -> str:
    return str(choice.choose(net, probe, count=count, batch=4, **asked))


def test_a_short_job_runs_as_it_is_and_nothing_is_said(
    net: ResNet, pictures: Tensor, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert chosen(net, pictures, count=20) == "reference fp32"
    assert capsys.readouterr().err == ""
    assert not home.exists()


def test_fp32_is_the_reference_however_long_the_job(net: ResNet, pictures: Tensor) -> None:
    assert chosen(net, pictures, precision="fp32") == "reference fp32"
    assert chosen(net, pictures, engine="torch", precision="fp32") == "reference fp32"


def test_what_was_measured_decides_with_its_reason(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx512_bf16"})
    remember(net, reference_fp32=(0, 100), torch_bf16=(0.5, 300))
    assert chosen(net, pictures) == "torch bf16"
    said = capsys.readouterr().err
    assert "engine: torch bf16, 300 pictures/s, the reference 100; the CPU has avx512_bf16" in said
    assert "equal labels" in said


def test_without_native_bf16_the_precision_stays(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx2"})
    remember(net, reference_fp32=(0, 100), torch_bf16=(0.5, 300), torch_fp32=(0.5, 120))
    assert chosen(net, pictures) == "torch fp32"


def test_an_engine_that_takes_long_to_make_is_for_long_jobs(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: set())
    monkeypatch.setattr(engines, "available", lambda device: ("torch", "compile"))
    body = Body(net)
    monkeypatch.setitem(engines.MAKERS, "compile", lambda *_: Engine("compile", "fp32", 0, torch.device("cpu"), body))
    remember(net, reference_fp32=(0, 100), torch_fp32=(0, 110), compile_fp32=(60, 220))
    assert chosen(net, pictures, count=5_000) == "torch fp32"
    assert chosen(net, pictures, count=50_000) == "compile fp32"


def test_answers_that_moved_are_not_accepted(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx512_bf16"})
    monkeypatch.setitem(choice.TOLERANCE, "bf16", 1e-9)
    remember(net, reference_fp32=(0, 100), torch_bf16=(0, 300), torch_fp32=(0, 120))
    assert chosen(net, pictures) == "torch fp32"
    assert "engine torch bf16 is not used" in capsys.readouterr().err
    assert chosen(net, pictures, precision="bf16") == "torch bf16"  # asked for, it is taken


def test_what_is_unknown_is_measured_and_kept(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: set())
    monkeypatch.setitem(choice.EXPECTED, ("torch", "fp32"), (0.1, 2.0))
    chosen(net, pictures)
    kept = json.loads(next(home.glob("*.json")).read_text())
    assert kept["shape"] == [4, 3, 32, 32]
    assert kept["machine"]["threads"] == torch.get_num_threads()
    assert set(kept["measured"]) == {"reference fp32", "torch fp32"}
    assert all(each["pictures_per_second"] > 0 for each in kept["measured"].values())
    monkeypatch.setattr(choice, "rate", None)  # measuring again would fail
    chosen(net, pictures)


def test_another_machine_or_shape_has_a_file_of_its_own(net: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {Memory(net, (4, 3, 32, 32)).path, Memory(net, (8, 3, 32, 32)).path}
    monkeypatch.setattr(machine, "identity", lambda device: {"device": "another"})
    paths.add(Memory(net, (4, 3, 32, 32)).path)
    assert len(paths) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"measured": {"torch fp32": {}}}', '{"measured": {"a": 3}}'])
def test_a_damaged_file_is_as_none(net: ResNet, content: str) -> None:
    path = remember(net, torch_fp32=(0, 1))
    assert Memory(net, (4, 3, 32, 32)).read()
    path.write_text(content)
    assert Memory(net, (4, 3, 32, 32)).read() == {}


def test_a_home_that_cannot_be_written_costs_the_memory_only(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "file"))
    chosen(net, pictures)


def test_a_compiler_that_fails_leaves_the_work_to_the_others(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> engines.Engine:
        raise RuntimeError("\n  no C++ compiler\nat line 3")

    monkeypatch.setattr(machine, "cpu_flags", lambda: set())
    monkeypatch.setattr(engines, "available", lambda device: ("torch", "compile"))
    monkeypatch.setitem(engines.MAKERS, "compile", broken)
    remember(net, reference_fp32=(0, 100), torch_fp32=(0, 110))
    assert chosen(net, pictures) == "torch fp32"
    assert "engine compile fp32 cannot compute this network: no C++ compiler\n" in capsys.readouterr().err
    with pytest.raises(JobError, match="no C"):
        chosen(net, pictures, engine="compile")


def test_words_that_name_nothing(net: ResNet, pictures: Tensor) -> None:
    with pytest.raises(UserError, match=r"bf16.*received 'bf17'"):
        chosen(net, pictures, precision="bf17")
    with pytest.raises(UserError, match="no engine 'tourch'"):
        chosen(net, pictures, engine="tourch")


def test_agreement_counts_labels_and_measures_distances() -> None:
    found = choice.agreement(
        torch.tensor([[2.0, 0], [0, 1], [5, 0], [0, 3]]), torch.tensor([[2.0, 0], [1, 0], [5, 0], [0, 3]])
    )
    assert (found.pictures, found.same, found.logit) == (4, 0.75, 1.0)
    assert found.probability == pytest.approx(0.4621, abs=1e-4)  # sigmoid(1) - sigmoid(-1)
