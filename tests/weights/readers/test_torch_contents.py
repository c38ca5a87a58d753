"""Tensors that are not plain numbers are named, and keep no other network of the file out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resnets.errors import UserError
from resnets.weights.readers.read_any import read

PLAIN = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (PLAIN.to("meta"), r"'fc.weight' has no values \(device 'meta'\)"),
        (PLAIN.to_sparse(), r"'fc.weight' is sparse .*to_dense"),
        (PLAIN.to(torch.float8_e4m3fn), r"'fc.weight' is of type torch.float8_e4m3fn"),
    ],
)
def test_weights_that_are_not_plain_numbers_are_named(tensor: torch.Tensor, words: str, tmp_path: Path) -> None:
    odd = {"fc.weight": tensor, "fc.bias": torch.zeros(2)}
    torch.save(odd, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=words):
        read(tmp_path / "odd.pth")
    torch.save({"model": {"fc.weight": PLAIN}, "other": odd}, tmp_path / "two.pth")
    assert torch.equal(read(tmp_path / "two.pth").tensors["fc.weight"], PLAIN)
