"""From a file to ours and on to other formats; what is changed on purpose, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision as torchvision_library
from tests.weights.narrow_resnet import NarrowResNet

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.weights import checkpoint as checkpoints
from resnets.weights import load_weights
from resnets.weights.conversion import convert
from resnets.weights.load_weights import Request, distinct, load
from resnets.weights.verification import verify


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision_library.models.resnet18(num_classes=7).eval()


@pytest.fixture(scope="module")
def file(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    torch.save(theirs.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def narrow() -> torch.nn.Module:
    torch.manual_seed(0)
    return NarrowResNet(num_classes=7).eval()


@pytest.fixture(scope="module")
def narrow_file(narrow: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    torch.save(narrow.state_dict(), path)
    return path


IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def logits(path: Path, image: torch.Tensor = IMAGE) -> torch.Tensor:
    with torch.inference_mode():
        return checkpoints.network(checkpoints.read(path))(image)


def test_there_and_back_through_every_format(file: Path, theirs: torch.nn.Module, tmp_path: Path) -> None:
    ours = tmp_path / "ours.safetensors"
    lines = convert(file, to="resnets", out=ours)
    assert "torchvision, resnet18" in lines[0]
    assert "122 tensors, each used once" in lines[-1]
    with torch.inference_mode():
        assert torch.allclose(logits(ours), theirs(IMAGE), atol=1e-5)
    for step, (to, name) in enumerate((("timm", "m.safetensors"), ("huggingface", "hf"), ("torchvision", "back.pth"))):
        convert(ours, to=to, out=tmp_path / name)
        ours = tmp_path / f"{step}.safetensors"
        convert(tmp_path / name, to="resnets", out=ours)
    found, state = torch.load(tmp_path / "back.pth", weights_only=True), theirs.state_dict()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_what_was_converted_says_where_it_came_from(narrow_file: Path, tmp_path: Path) -> None:
    source = load(narrow_file)
    assert source.checkpoint.provenance["converted_from"] == "r18.pth"
    assert source.checkpoint.provenance["parent_sha256"] == sha256(narrow_file)
    assert source.checkpoint.class_names == ()
    assert source.checkpoint.preprocess == Preprocess.imagenet()
    assert any("the file has none for its 7 outputs" in note for note in source.notes)
    named = load(narrow_file, Request(class_names=tuple("abcdefg"), preprocess="caffe")).checkpoint
    assert (named.class_names, named.preprocess) == (tuple("abcdefg"), Preprocess.caffe())


def test_the_classes_of_imagenet_are_named(tmp_path: Path) -> None:
    torch.save(NarrowResNet(num_classes=1000).state_dict(), tmp_path / "r.pth")
    classes = load(tmp_path / "r.pth").checkpoint.class_names
    assert classes[0] == "tench"
    assert len(set(classes)) == 1000
    assert distinct(["crane", "dog", "crane"]) == ("crane (0)", "dog", "crane (2)")


def test_a_new_head_must_be_requested_and_is_logged(narrow_file: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours.safetensors"
    lines = convert(narrow_file, to="resnets", out=ours, request=Request(num_classes=3))
    assert any("new, untrained head of 3 classes" in line for line in lines)
    assert logits(ours).shape == (2, 3)
    body, before = checkpoints.read(ours).tensors, load(narrow_file).checkpoint.tensors
    assert all(torch.equal(body[name], before[name]) for name in body if not name.startswith("head."))


def test_a_file_without_its_head_gets_an_untrained_one_that_is_not_used_for_predictions(
    file: Path, tmp_path: Path
) -> None:
    state = {name: tensor for name, tensor in torch.load(file, weights_only=True).items() if not name.startswith("fc.")}
    torch.save(state, tmp_path / "body.pth")
    random = torch.random.get_rng_state()
    lines = convert(tmp_path / "body.pth", to="resnets", out=tmp_path / "body.safetensors")
    assert torch.equal(random, torch.random.get_rng_state())
    assert any("without a head" in line and "--weights" in line for line in lines)
    with pytest.raises(UserError, match=r"not trained.*resnets train DATA --weights"):
        resnets.load(tmp_path / "body.safetensors").predict([])
    for source in (file, tmp_path / "body.pth"):
        convert(source, to="torchvision", out=tmp_path / "out.pth", request=Request(no_top=True))
        assert torch.load(tmp_path / "out.pth", weights_only=True).keys() == state.keys()


def test_one_channel_adds_the_three_kernels(narrow_file: Path, narrow: torch.nn.Module, tmp_path: Path) -> None:
    ours = tmp_path / "ours.safetensors"
    lines = convert(narrow_file, to="resnets", out=ours, request=Request(in_channels=1))
    assert any("added into one" in line for line in lines)
    gray = IMAGE[:, :1]
    with torch.inference_mode():
        assert torch.allclose(logits(ours, gray), narrow(gray.expand(-1, 3, -1, -1)), atol=1e-4)
    assert checkpoints.read(ours).preprocess.color == "gray"


@pytest.mark.parametrize("channels", [4, 6])
def test_more_channels_begin_as_zero(channels: int, narrow_file: Path, narrow: torch.nn.Module, tmp_path: Path) -> None:
    ours = tmp_path / "ours.safetensors"
    convert(narrow_file, to="resnets", out=ours, request=Request(in_channels=channels))
    more = torch.cat((IMAGE, torch.randn(2, channels - 3, 64, 64)), 1)
    with torch.inference_mode():
        assert torch.allclose(logits(ours, more), narrow(IMAGE), atol=1e-5)
    with pytest.raises(UserError, match=f"takes {channels}"):
        convert(ours, to="torchvision", out=tmp_path / "t.pth")


def test_two_channels_are_refused(narrow_file: Path) -> None:
    with pytest.raises(UserError, match="`in_channels=2`"):
        convert(narrow_file, to="resnets", out="x", request=Request(in_channels=2))


def test_a_file_with_a_fault_is_not_converted(narrow_file: Path, tmp_path: Path) -> None:
    state = torch.load(narrow_file, weights_only=True)
    state["layer9"] = state.pop("bn1.bias")
    state["layer1.0.bn1.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(UserError) as error:
        convert(tmp_path / "odd.pth", to="resnets", out=tmp_path / "out.safetensors")
    for words in ("missing: bn1.bias", "left over: layer9", "layer1.0.bn1.weight [3] for [8]"):
        assert words in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_half_precision_and_files_of_before_the_counters(
    narrow_file: Path, narrow: torch.nn.Module, tmp_path: Path
) -> None:
    state = torch.load(narrow_file, weights_only=True)
    old = {name: tensor.half() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    with torch.inference_mode():
        found = checkpoints.network(load(tmp_path / "old.pth").checkpoint)(IMAGE)
        wanted = narrow(IMAGE)
    assert (found - wanted).abs().max() < 1e-2 * wanted.abs().max()


def test_a_library_that_computes_something_else_gets_no_file(tmp_path: Path) -> None:
    torch.save(torchvision_library.models.resnet50(num_classes=2).state_dict(), tmp_path / "r.pth")
    convert(tmp_path / "r.pth", to="resnets", out=tmp_path / "v1.safetensors", request=Request(model="resnet50_v1"))
    for to in ("torchvision", "timm"):
        with pytest.raises(UserError, match="no network that computes what 'resnet50_v1' does"):
            convert(tmp_path / "v1.safetensors", to=to, out=tmp_path / "out")
    convert(tmp_path / "v1.safetensors", to="huggingface", out=tmp_path / "hf")
    assert load(tmp_path / "hf").checkpoint.spec.stride_at == "1x1"


def test_wrong_arguments(narrow_file: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'timm'"):
        convert(narrow_file, to="tim", out="x")
    with pytest.raises(UserError, match="Did you mean 'resnet18'"):
        load(narrow_file, Request(model="resnet81"))
    with pytest.raises(UserError, match="no setting 'strides_at'"):
        load(narrow_file, Request(settings={"strides_at": "1x1"}))
    with pytest.raises(UserError, match="imagenet, caffe, tf"):
        load(narrow_file, Request(preprocess="torch"))


@pytest.mark.parametrize(
    ("to", "request_", "words"),
    [
        (
            "resnets",
            Request(num_classes=3, class_names=("a", "b", "c")),
            "`class_names` has no effect with `num_classes`",
        ),
        ("torchvision", Request(num_classes=3, no_top=True), "`num_classes` has no effect with `no_top`"),
        ("torchvision", Request(class_names=("a",), no_top=True), "`class_names` has no effect with `no_top`"),
    ],
)
def test_a_request_without_effect_is_refused(
    to: str, request_: Request, words: str, narrow_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        convert(narrow_file, to=to, out=tmp_path / "out.pth", request=request_)


def test_arguments_that_a_checkpoint_of_resnets_does_not_take_are_refused(narrow_file: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours.safetensors"
    convert(narrow_file, to="resnets", out=ours)
    with pytest.raises(UserError, match="`no_top` has no effect"):
        convert(ours, to="resnets", out=tmp_path / "out.safetensors", request=Request(no_top=True))
    with pytest.raises(UserError, match="leave out `wrapper`, `ignore`"):
        convert(ours, to="resnets", out=tmp_path / "out.safetensors", request=Request(wrapper="x", ignore=("a*",)))
    with pytest.raises(UserError, match="leave out the rest"):
        verify(ours, ours, request=Request(model="resnet18"))


SPLITS = ["fc.weight_orig", "fc.bias_mask", "conv1.weight_g", "weight_v", "fc.parametrizations.weight.original0",
         "parametrizations.weight.original"]  # fmt: skip
WHOLE = ["attn.rel_pos_v", "fc.key_v", "token_mask", "gamma_g", "layer1.original", "fc.my_weight_g", "weight_mask.x"]


def test_weights_stored_as_several_tensors_are_told_from_similar_names() -> None:
    for name in SPLITS:
        with pytest.raises(UserError, match=f"a weight as several tensors, {name},"):
            load_weights._check_split_weights(Path("a.pth"), [*WHOLE, name])
    load_weights._check_split_weights(Path("a.pth"), WHOLE)


def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for to, name in (("resnets", "file/o.safetensors"), ("huggingface", "file/folder")):
        with pytest.raises(UserError, match=r"Cannot write '.*file"):
            convert(tmp_path / "missing.pth", to=to, out=tmp_path / name)
