"""Names and layouts both ways, and every tensor exactly once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnets.errors import UserError
from resnets.weights.formats.keymap import Keymap, Rule, read_name, write_name


def test_a_name_is_read_and_written_with_its_shifts() -> None:
    values = read_name("stage{s}.block{b+1}.{...}", "stage2.block11.branch.conv1.weight")
    assert values == {"s": 2, "b": 10, "rest": "branch.conv1.weight"}
    assert write_name("layer{s-1}.{b}.{...}", values) == "layer1.10.branch.conv1.weight"
    assert read_name("stage{s}.block{b+1}.{...}", "stageX.block1.a") is None
    assert read_name("a.b", "axb") is None
    assert read_name("{s}.{s}", "1.1") == {"s": 1}
    assert read_name("{s}.{s}", "1.2") is None


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 3), st.sampled_from(["weight", "running_mean", "a.b"]))
def test_reading_undoes_writing(s: int, b: int, n: int, rest: str) -> None:
    values = {"s": s, "b": b, "n": n, "rest": rest}
    for pattern in ("layer{s}.{b}.bn{n}.{...}", "x{s+1}y{b-0}z{n+4}.{...}"):
        assert read_name(pattern, write_name(pattern, values)) == values


RULES = (
    Rule("k{n-1}", "conv{n}.weight", "conv"),
    Rule("dense", "fc.weight", "dense"),
    Rule("point", "last.weight", "pointwise"),
    Rule("bn.{...}", "norm.{...}"),
)


def expected() -> dict[str, torch.Tensor]:
    shapes = {"conv1.weight": (4, 3, 2, 1), "fc.weight": (5, 4), "last.weight": (6, 5), "norm.weight": (4,)}
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return tensors | {"norm.num_batches_tracked": torch.empty((), dtype=torch.int64, device="meta")}


def external() -> dict[str, torch.Tensor]:
    return {
        "k0": torch.randn(2, 1, 3, 4),
        "dense": torch.randn(4, 5),
        "point": torch.randn(6, 5, 1, 1),
        "bn.weight": torch.randn(4),
        "bn.num_batches_tracked": torch.tensor(3),
    }


def test_tensors_get_the_layout_of_resnets_and_go_back_unchanged() -> None:
    given_tensors, keymap = external(), Keymap(RULES, expected())
    converted = keymap.to_resnets(given_tensors)
    assert list(converted) == list(expected())
    assert converted["conv1.weight"][3, 2, 1, 0] == given_tensors["k0"][1, 0, 2, 3]
    assert torch.equal(converted["fc.weight"], given_tensors["dense"].T)
    assert converted["norm.num_batches_tracked"] == 3
    back = keymap.from_resnets(converted)
    assert all(torch.equal(back[name], tensor) and back[name].is_contiguous() for name, tensor in given_tensors.items())


def test_counters_may_be_absent_in_the_file_or_in_the_format() -> None:
    tensors = external()
    del tensors["bn.num_batches_tracked"]
    assert Keymap(RULES, expected()).to_resnets(tensors)["norm.num_batches_tracked"] == 0
    keymap = Keymap(RULES, expected(), counters=False)
    converted = keymap.to_resnets(tensors)
    assert converted["norm.num_batches_tracked"] == 0
    assert "bn.num_batches_tracked" not in keymap.from_resnets(converted)


def test_what_does_not_fit_is_listed() -> None:
    tensors = external()
    tensors["odd"] = tensors.pop("dense")
    tensors["point"] = torch.zeros(6, 5, 3, 3)
    tensors["k0"] = torch.zeros(2, 1, 3, 5)
    tensors["bn.weight"] = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(UserError) as error:
        Keymap(RULES, expected()).to_resnets(tensors)
    for words in ("missing: dense", "left over: odd", "k0 [2, 1, 3, 5] for [2, 1, 3, 4]",
                  "point [6, 5, 3, 3] for [6, 5, 1, 1]", "of another type: bn.weight torch.int64"):  # fmt: skip
        assert words in str(error.value)
    converted = Keymap(RULES, expected()).to_resnets(external())
    del converted["fc.weight"]
    with pytest.raises(UserError, match=r"missing: fc\.weight; left over: more"):
        Keymap(RULES, expected()).from_resnets(converted | {"more": torch.zeros(1)})


def test_a_malformed_map_is_refused() -> None:
    with pytest.raises(UserError, match=r"no rule for the tensor 'norm\.weight'"):
        Keymap(RULES[:3], expected())
    with pytest.raises(UserError, match=r"both .conv1\.weight. and .fc\.weight. the name .same."):
        Keymap((Rule("same", "conv1.weight"), Rule("same", "fc.weight"), *RULES), expected())
    with pytest.raises(UserError, match="layout is one of"):
        Keymap((Rule("k", "conv1.weight", "hwio"),), expected())
    with pytest.raises(UserError, match=r"uses \{n\}, which the other name"):
        Keymap((Rule("k{n}", "conv1.weight"),), expected())
    with pytest.raises(UserError, match="brace"):
        read_name("a{long}", "a1")
