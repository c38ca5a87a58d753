"""An int8 file is taken for a checkpoint only with a proof of this very file and these very weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests import shaded_shapes

import resnets
from resnets.errors import UserError
from resnets.inference.exported import int8_files
from resnets.weights import local_file

pytestmark = pytest.mark.skipif(find_spec("nncf") is None, reason="needs nncf")


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A copy of a checkpoint with its int8 file and the proof."""
    result, checkpoint = shaded_shapes.quantized(), shaded_shapes.checkpoint_file()
    shutil.copy(checkpoint, tmp_path)
    shutil.copytree(result.path, tmp_path / result.path.name)
    shutil.copy(result.gate_path, tmp_path)
    return tmp_path / checkpoint.name


def edit(copies: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = copies.with_name("model_int8_openvino.gate.json")
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refusal(copies: Path) -> str:
    with pytest.raises(UserError) as error:
        resnets.load(copies, precision="int8")
    assert f"resnets quantize {copies} IMAGES" in str(error.value)
    return str(error.value)


def test_the_unchanged_copies_are_taken(copies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, gain = copies.with_name("model_int8_openvino"), shaded_shapes.quantized().gain.speedup
    assert resnets.load(copies, precision="int8").name == str(path)
    limits = f"`max_drop={shaded_shapes.MAX_DROP}` and `min_gain=1e-06`"
    assert f"int8: '{path}' passed with {limits} and was {gain:.2f} times as fast\n" in capsys.readouterr().err
    edit(copies, lambda values: values.update(max_drop=[], min_gain=10**400, gain=None))
    resnets.load(copies, precision="int8")
    assert "`max_drop=unknown` and `min_gain=unknown` and was unknown times" in capsys.readouterr().err


def test_of_a_checkpoint_with_another_ending_it_has_the_name_that_quantize_gives(copies: Path) -> None:
    path = local_file.export_path(copies.rename(copies.with_name("model.ckpt")), int8_files.ENDINGS["openvino"])
    for ending in ("", int8_files.GATE):
        copies.with_name(f"model_int8_openvino{ending}").rename(f"{path}{ending}")
    assert resnets.load(copies.with_name("model.ckpt"), precision="int8").name == str(path)


def test_it_is_evaluated_in_int8_and_refused_where_fp32_is_asked_for(copies: Path) -> None:
    file = copies.with_name("model_int8_openvino")
    for name in shaded_shapes.CLASSES:
        shutil.copytree(
            shaded_shapes.folder() / "train" / name,
            copies.with_name("data") / "test" / name,
            ignore=lambda folder, names: sorted(names)[2:],
        )
    found = resnets.evaluate(file, copies.with_name("data"))
    assert (found.metrics["count"], found.to_dict()["precision"]) == (4, "int8")
    for call in (
        lambda: resnets.load(file, precision="fp32"),
        lambda: resnets.evaluate(file, copies.with_name("data"), precision="fp32"),
    ):
        with pytest.raises(
            UserError, match="is an exported file, which is computed in int8; received `precision=fp32`"
        ):
            call()


def test_without_an_int8_file_the_command_is_named(copies: Path) -> None:
    shutil.rmtree(copies.with_name("model_int8_openvino"))
    assert "has no int8 file beside it. Write one and prove it: resnets quantize" in refusal(copies)


def test_without_a_proof_it_is_not_taken(copies: Path) -> None:
    gate = copies.with_name("model_int8_openvino.gate.json")
    for content in ("", "[]", "{", '"passed"'):
        gate.write_text(content)
        assert "no" in refusal(copies)
    gate.unlink()
    assert "there is no proof of it, 'model_int8_openvino.gate.json'" in refusal(copies)


@pytest.mark.parametrize("verdict", ["refused", "not proved", "", None, True])
def test_with_another_verdict_it_is_not_taken(copies: Path, verdict: object) -> None:
    edit(copies, lambda values: values.update(verdict=verdict))
    assert "did not pass" in refusal(copies)


def test_of_other_weights_it_is_not_taken(copies: Path) -> None:
    with copies.open("ab") as file:
        file.write(b" ")
    assert "made of other weights" in refusal(copies)


def test_the_hash_of_the_checkpoint_is_in_the_file_and_in_the_proof(copies: Path) -> None:
    for value in ("0" * 64, [], None):
        edit(copies, lambda values, value=value: values.update(checkpoint_sha256=value))
        assert "made of other weights" in refusal(copies)


def test_a_file_that_was_changed_is_not_taken(copies: Path) -> None:
    weights = copies.with_name("model_int8_openvino") / "model.bin"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert "not the file that 'model_int8_openvino.gate.json' was written for" in refusal(copies)


def test_a_processor_without_the_instructions_of_the_proof_is_warned_of(
    copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resnets.load(copies, precision="int8")
    assert "warning" not in capsys.readouterr().err
    edit(copies, lambda values: values["processor"]["flags"].append("avx9000"))
    for path, precision in ((copies, "int8"), (copies.with_name("model_int8_openvino"), "auto")):
        resnets.load(path, precision=precision)
        assert "was proved on a processor with avx9000, which this one does not have" in capsys.readouterr().err
