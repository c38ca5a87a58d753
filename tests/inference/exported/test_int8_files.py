"""An int8 file is taken for a checkpoint only with a proof of this very file and these very weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import shaded_shapes

import resnets
from resnets.errors import UserError

pytest.importorskip("nncf")


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


def test_the_unchanged_copies_are_taken(copies: Path) -> None:
    assert resnets.load(copies, precision="int8").name == str(copies.with_name("model_int8_openvino"))


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
    edit(copies, lambda values: values.update(checkpoint_sha256="0" * 64))
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
