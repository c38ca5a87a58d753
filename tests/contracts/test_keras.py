"""Keras and this project give the same logits for the same weights, whichever of the two wrote them.

ResNet50 of Keras Applications goes through one of Keras' containers, and with RESNETS_EVERY_SIZE (`make soak`) all six through
all; ResNet50V2 is compared in test_probabilities.py too. Each kind of operation, and in `make soak` every family of the zoo,
becomes a Keras model, at most two blocks a stage, since deeper ones repeat them (in `make test`, one in the last two stages).
The weights are float32; both sides compute in float64, and agree to 1e-9 of the largest logit, at a size that no stride divides.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras as keras_library
import numpy as np
import pytest
import torch
from tests.in_soak import IN_SOAK, only_in_soak
from torch import Tensor, nn

import resnets.keras
from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec
from resnets.weights import checkpoint as checkpoints
from resnets.weights import conversion, download_published, identify
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import keras
from resnets.weights.load_weights import Request

KINDS = [
    *("resnet50d", "resnext50_32x4d", "se_resnet18", "cbam_resnet18", "keras_resnet50v2", "cifar_preresnet110"),
    *("cifar_highway20", "tutorial_resnet50", "notes_basic_resnet", "cifar_fast"),
]
ALSO = [
    *("resnet18", "resnet34_a", "resnet50_v1", "resnet50_v2", "keras_resnet50", "tiny"),
    "notes_resnet50",
    *("resnet50", "resnet34_c", "resnet50c", "wide_resnet50_2", "se_resnet50", "cbam_resnet50", "plain18"),
    *("cifar_resnet20", "cifar_plain20", "cifar_preresnet164", "wrn_16_8"),
]
FAMILIES = [*KINDS, *ALSO] if IN_SOAK else KINDS


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keras in float64, those of its operations too that would else follow JAX without 64 bits."""
    policy, floatx = keras_library.config.dtype_policy(), keras_library.config.floatx()
    keras_library.config.set_dtype_policy("float64")
    keras_library.config.set_floatx("float64")
    for place in ("keras.src.backend", "keras.src.backend.common.dtypes"):
        monkeypatch.setattr(f"{place}.result_type", lambda *dtypes: "float64")
    yield
    keras_library.config.set_floatx(floatx)
    keras_library.config.set_dtype_policy(policy)
    keras_library.utils.clear_session()


def randomized(net: nn.Module) -> nn.Module:
    """Random weights and statistics, in float32."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.4, 1.2, generator=generator)
                module.bias.uniform_(-0.3, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                bound = (6 / module.weight[0].numel()) ** 0.5
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-0.3, 0.3, generator=generator)
    return net.eval()


def answers(model: keras_library.Model, images: Tensor) -> Tensor:
    found = model(images.permute(0, 2, 3, 1).numpy(), training=False)
    return torch.as_tensor(np.asarray(found.detach()))


def agree(ours: nn.Module, theirs: Callable[[Tensor], Tensor], size: tuple[int, int], bound: float = 1e-9) -> None:
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        found, wanted = ours.double()(images), theirs(images)
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 1e-3
    assert (found - wanted).abs().max() < bound * wanted.abs().max()


# The deeper ones repeat the layers of those of 50; that they are all there, tests/keras/test_resnet.py compares with Keras.
DEPTHS = [name for name in keras.APPLICATIONS if name == "keras_resnet50" or IN_SOAK]


def theirs_with_random_weights(name: str) -> keras_library.Model:
    """Keras' own network, its weights drawn at random, giving logits."""
    random = np.random.default_rng(0)
    model = getattr(keras_library.applications, keras.APPLICATIONS[name])(weights=None, classifier_activation=None)
    for layer in model.layers:
        values = layer.get_weights()
        if len(values) == 4:
            low_high = [(0.4, 1.2), (-0.3, 0.3), (-0.4, 0.4), (0.5, 1.5)]
            layer.set_weights([random.uniform(*span, each.shape) for span, each in zip(low_high, values, strict=True)])
        elif values:
            bound = (6 / np.prod(values[0].shape[:-1])) ** 0.5
            layer.set_weights([random.uniform(-bound, bound, values[0].shape), *(v + 0.1 for v in values[1:])])
    return model


@pytest.fixture(scope="module", params=DEPTHS)
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, keras_library.Model, dict[str, Path]]]:
    """The name of a network, Keras' own model, and our checkpoint of its file, by the suffix of the file."""
    name, folder = request.param, tmp_path_factory.mktemp("converted")
    model = theirs_with_random_weights(name)
    # Each container is also read in test_readers.py and written in test_converted.py.
    suffixes = (".weights.h5", ".h5", ".keras") if IN_SOAK else (".weights.h5",)
    made = {suffix: folder / f"ours{suffix}.safetensors" for suffix in suffixes}
    for suffix, out in made.items():
        path = folder / f"theirs{suffix}"
        model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
        conversion.convert(path, to="resnets", out=out)
    yield name, model, made
    shutil.rmtree(folder)


def test_what_keras_wrote_is_read_and_what_we_write_keras_loads(
    converted: tuple[str, keras_library.Model, dict[str, Path]], tmp_path: Path
) -> None:
    name, model, made = converted
    for suffix, path in made.items():
        found = checkpoints.read(path)
        assert found.spec.name == name
        assert found.preprocess == (Preprocess.tf() if "v2" in name else Preprocess.caffe())
        kept = keras.keymap(found.spec).from_resnets(found.tensors)
        for key, tensor in kept.items():
            layer, _, variable = key.rpartition("/")
            wanted = next(each for each in model.get_layer(layer).weights if each.name == variable)
            assert np.array_equal(tensor.numpy(), np.asarray(wanted.value.detach())), key
        # and the way back: what was there stands there again
        back = tmp_path / f"back{suffix}"
        conversion.convert(path, to="keras", out=back)
        other = getattr(keras_library.applications, keras.APPLICATIONS[name])(weights=None)
        other.load_weights(back)
        for mine, own in zip(other.weights, model.weights, strict=True):
            assert np.array_equal(np.asarray(mine.value.detach()), np.asarray(own.value.detach())), own.path


@pytest.mark.usefixtures("double")
def test_logits_of_a_file_are_those_of_keras(converted: tuple[str, keras_library.Model, dict[str, Path]]) -> None:
    """The file is written in float32, as the published ones are, and both compute in float64."""
    name, model, made = converted
    ours = checkpoints.network(checkpoints.read(next(iter(made.values()))))
    for size in [(97, 65), (224, 224)] if IN_SOAK else [(97, 65)]:
        wide = getattr(keras_library.applications, keras.APPLICATIONS[name])(
            weights=None, classifier_activation=None, input_shape=(*size, 3)
        )
        wide.set_weights([each.astype("float64") for each in model.get_weights()])
        agree(ours, partial(answers, wide), size)


def shallow(name: str) -> tuple[ResNetSpec, ResNet]:
    spec = zoo.get_spec(name, num_classes=5)
    most = (2, 2, 2, 2) if IN_SOAK else (2, 2, 1, 1)
    spec = dataclasses.replace(spec, num_blocks=tuple(map(min, spec.num_blocks, most)))
    return spec, randomized(build(spec))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("double")
def test_any_network_as_a_keras_model(name: str, tmp_path: Path) -> None:
    spec, net = shallow(name)
    names = ("a", "b", "c", "d", "e")
    checkpoints.save(tmp_path / "net.safetensors", Checkpoint(spec, Preprocess.imagenet(64), names, net.state_dict()))
    model = resnets.keras.load(tmp_path / "net.safetensors")
    assert model.name == name
    size = (net.fixed_size, net.fixed_size) if net.fixed_size else (max(net.min_size, 65), max(net.min_size, 65) + 8)
    agree(net, lambda images: answers(model, images), size)
    trained = sum(np.prod(each.shape) for each in model.trainable_weights)
    # Keras has no layer of which only a part is trained.
    fixed = sum(value.numel() for key, value in net.named_buffers() if key.endswith("weight"))
    assert trained == sum(parameter.numel() for parameter in net.parameters()) + fixed


VARIED: list[dict[str, Any]] = [
    {"block": "scaled", "shortcut_scale": 0.25, "branch_scale": 0.5},
    {"block": "gated_shortcut"},
    {"block": "norm_after", "norm": "none"},
    {"block": "act_only"},
]


@pytest.mark.parametrize("changes", VARIED, ids=str)
@pytest.mark.usefixtures("double")
def test_a_network_of_other_blocks_as_a_keras_model(changes: dict[str, Any]) -> None:
    spec = zoo.get_spec("cifar_resnet20", num_classes=5, num_blocks=(1, 1, 1), **changes)
    net = randomized(build(spec))
    model = resnets.keras.from_spec(spec)
    keras.fill(model, spec, net.state_dict(), own_names=True)
    agree(net, lambda images: answers(model, images), (33, 35))


# Those between whose layers are other operations are loaded by Keras in test_converted.py.
@pytest.mark.parametrize("name", ["tiny", *(("resnet18", "cifar_highway20", "se_resnet18") if IN_SOAK else ())])
def test_a_keras_model_of_resnets_survives_keras_own_file(name: str, tmp_path: Path) -> None:
    spec = zoo.get_spec(name, num_classes=5)
    net = randomized(build(spec))
    checkpoint = Checkpoint(spec, Preprocess.imagenet(64), ("a", "b", "c", "d", "e"), net.state_dict())
    checkpoints.save(tmp_path / "net.safetensors", checkpoint)
    conversion.convert(tmp_path / "net.safetensors", to="keras", out=tmp_path / "net.keras")
    loaded = keras_library.saving.load_model(tmp_path / "net.keras")
    agree(net.float(), lambda images: answers(loaded, images.float()).double(), (65, 65), bound=1e-4)
    conversion.convert(tmp_path / "net.keras", to="resnets", out=tmp_path / "again.safetensors")
    again = checkpoints.read(tmp_path / "again.safetensors")
    assert again.spec == spec
    for key, tensor in net.state_dict().items():
        if "num_batches" not in key:
            assert torch.equal(again.tensors[key], tensor.float()), key


@only_in_soak("9 s")
def test_what_a_file_of_keras_is(tmp_path: Path) -> None:
    model = keras_library.applications.ResNet50V2(weights=None, classes=7, input_shape=(64, 64, 3))
    model.save_weights(tmp_path / "a.weights.h5")
    found = identify.inspect(tmp_path / "a.weights.h5")
    assert [(candidate.spec.name, candidate.spec.num_classes, candidate.format) for candidate in found.candidates] == [
        ("keras_resnet50v2", 7, "keras")
    ]
    body = keras_library.applications.ResNet50(weights=None, include_top=False)
    body.save_weights(tmp_path / "b.weights.h5")
    request = Request(no_top=True, num_classes=4)
    lines = conversion.convert(tmp_path / "b.weights.h5", to="resnets", out=tmp_path / "b.safetensors", request=request)
    assert any("untrained head of 4 classes" in line for line in lines), lines
    assert checkpoints.read(tmp_path / "b.safetensors").spec.num_classes == 4


@pytest.mark.parametrize("top", [True, False] if IN_SOAK else [False])
def test_published_weights_of_keras_come_by_their_name(top, tmp_path, monkeypatch):
    """A file that Keras wrote, under the published file's name, where a download would have put it."""
    from resnets.weights.hub import catalog, download

    entry = catalog.find("keras_resnet50.imagenet" if top else "keras_resnet50.imagenet_notop")
    model = keras_library.applications.ResNet50(weights=None, include_top=top)
    model.save(tmp_path / "model.h5")
    monkeypatch.setattr(download, "download", lambda *_, **__: tmp_path / "model.h5")
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    found = download_published.read(entry.name)
    assert found.spec.name == "keras_resnet50"
    kernel = model.get_layer("conv1_conv").get_weights()[0]
    assert np.array_equal(found.tensors["stem.conv.weight"].permute(2, 3, 1, 0).numpy(), kernel)
