"""The six functions beside those of keras.applications, call by call."""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.in_soak import IN_SOAK, only_in_soak

import resnets.keras
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NAMES = ("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2")


def outcome(make: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What a call gives: the model's layers, or the kind of its error."""
    keras.utils.clear_session()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with keras.device("meta"):  # shapes, and no values
                model = make(**{key: value() if callable(value) else value for key, value in arguments.items()})
        except (ValueError, TypeError) as error:
            return type(error)
    first, *others = model.layers
    return {
        "name": model.name,
        "input": model.input_shape,
        "output": model.output_shape,
        "parameters": model.count_params(),
        "trainable": sum(int(np.prod(each.shape)) for each in model.trainable_weights),
        "layers": [(layer.name, type(layer).__name__, layer.output.shape) for layer in others],
        "connections": [
            [tensor._keras_history.operation.name for tensor in node.input_tensors if tensor is not model.inputs[0]]
            for layer in others
            for node in layer._inbound_nodes[:1]
        ],
        "settings": [_settings(layer) for layer in others],
        "first": type(first).__name__,
    }


def _settings(layer: Any) -> dict[str, Any]:
    kept = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "use_bias",
        "activation",
        "epsilon",
        "momentum",
        "axis",
        "units",
    )
    return {
        key: value for key, value in layer.get_config().items() if key in (*kept, "pool_size", "kernel_initializer")
    }


CALLS: list[dict[str, Any]] = [
    {"weights": None, "classes": 7, "classifier_activation": None, "name": "mine"},
    {"weights": None, "include_top": False, "pooling": "max", "input_shape": (64, 96, 3)},
    {"weights": None, "include_top": False, "input_shape": (31, 64, 3)},
    {"weights": None, "include_top": False, "input_shape": (64, 31, 3)},
    {"weights": None, "include_top": True, "input_shape": (31, 31, 3)},
    {"weights": None, "include_top": True, "input_shape": (None, None, 3)},
    {"weights": None, "input_shape": (64, 64)},
    {"weights": None, "include_top": False, "input_shape": (64, 64)},
    {"weights": "imagenet", "classes": 10},
    {"weights": "imagenet", "input_shape": (64, 64, 3)},
    {"weights": "imagenet", "include_top": False, "input_shape": (64, 64, 1)},
    {"weights": "imagenet", "include_top": False, "input_shape": (16, 64, 3)},
    {"weights": "imagenet", "classifier_activation": "sigmoid"},
    {"weights": "imagnet"},
    {"weights": "nowhere.weights.h5"},
    {"wieghts": None},
]
# Of these, as of the first two above, the layers are compared.
LONG_CALLS: list[dict[str, Any]] = [
    {"weights": None},
    {"weights": None, "include_top": False, "pooling": "nonsense"},
    {"weights": None, "include_top": False, "input_shape": ()},
    {"weights": None, "include_top": False, "input_shape": (32, 32, 3)},
    {"weights": None, "input_tensor": lambda: keras.Input((64, 64, 3)), "classes": 4},
]


# One function passes on the arguments of all six; Keras' own tests, in test_applications.py, make more calls.
@pytest.mark.parametrize(
    ("name", "call"),
    [
        *(("ResNet50", call) for call in (*CALLS, *(LONG_CALLS if IN_SOAK else ()))),
        ("ResNet50V2", {"weights": None}),
        ("ResNet50V2", {"weights": "imagenet", "classes": 10}),
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),  # the same in every process
)
def test_every_call_gives_what_keras_gives(name: str, call: dict[str, Any]) -> None:
    ours, theirs = (outcome(getattr(place, name), call) for place in (resnets.keras, keras.applications))
    assert ours == theirs


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_that_of_keras(name: str) -> None:
    ours, theirs = getattr(resnets.keras, name), getattr(keras.applications, name)
    names = [(each.name, each.default) for each in inspect.signature(ours).parameters.values()]
    assert names == [(each.name, each.default) for each in inspect.signature(theirs).parameters.values()]
    assert (ours.__name__, ours.__module__) == (name, f"resnets.keras.resnet{'_v2' if 'V2' in name else ''}")


@pytest.mark.parametrize("module", ["resnet", "resnet50", "resnet_v2", "imagenet_utils"])
def test_modules_have_the_names_that_those_of_keras_have(module: str) -> None:
    ours, theirs = (importlib.import_module(f"{place}.{module}") for place in ("resnets.keras", "keras.applications"))
    wanted = {name for name in dir(theirs) if not name.startswith("_")}
    assert wanted <= set(dir(ours))
    assert "preprocess_input" in wanted


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_the_modes_of_imagenet_utils(mode: str) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    ours, theirs = (
        place.imagenet_utils.preprocess_input(images.copy(), mode=mode) for place in (resnets.keras, keras.applications)
    )
    assert np.array_equal(ours, theirs)


def test_imagenet_weights_are_refused_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path))
    with pytest.raises(UserError, match="RESNETS_OFFLINE"):
        resnets.keras.ResNet50(weights="imagenet")
    with pytest.raises(ValueError, match="1000"):  # before anything would be downloaded
        resnets.keras.ResNet50(weights="imagenet", classes=3)


def test_a_run_directory_and_its_temperature(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    net = zoo.build("keras_resnet50", num_classes=3).eval()
    checkpoint = Checkpoint(
        zoo.get_spec("keras_resnet50", num_classes=3),
        Preprocess.caffe(64),
        ("a", "b", "c"),
        net.state_dict(),
        fitted={"temperature": 0.25},
    )
    checkpoints.save(tmp_path / "run" / "weights" / "best.safetensors", checkpoint)
    image = np.random.default_rng(0).uniform(-100, 100, (1, 64, 64, 3)).astype("float32")
    model = resnets.keras.ResNet50(weights=str(tmp_path / "run"), classes=3, input_shape=(64, 64, 3))
    with torch.no_grad():
        logits = net(torch.as_tensor(image).permute(0, 3, 1, 2))
    found = model.predict(image, verbose=0)
    assert np.abs(found - (logits / 0.25).softmax(1).numpy()).max() < 1e-5
    assert np.abs(found - logits.softmax(1).numpy()).max() > 1e-4
    with pytest.raises(ValueError, match="activation"):
        resnets.keras.ResNet50(weights=str(tmp_path / "run"), classes=3, classifier_activation="sigmoid")
    whole = resnets.keras.load(tmp_path / "run")
    assert (
        np.abs(whole.predict(image, verbose=0) - (logits / 0.25).numpy()).max()
        < 1e-4 * float(logits.abs().max()) / 0.25
    )


def test_positions_of_the_arguments() -> None:
    with keras.device("meta"):
        ours, theirs = (
            place.ResNet50(False, None, None, (64, 64, 3), "max") for place in (resnets.keras, keras.applications)
        )
    assert ours.output_shape == theirs.output_shape == (None, 2048)


def test_a_model_on_top_of_another_tensor() -> None:
    def outputs(place: Any) -> list[str]:
        keras.utils.clear_session()
        inputs = keras.Input((64, 64, 3))
        varied = keras.layers.Rescaling(0.5, name="before")(inputs)
        with keras.device("meta"):
            model = place.ResNet50(weights=None, include_top=False, input_tensor=varied)
        return [layer.name for layer in model.layers[1:]]

    assert outputs(resnets.keras) == outputs(keras.applications)
    assert outputs(resnets.keras)[0] == "before"


# A file is read by Keras itself, for examples/flowers_transfer.py too.
@only_in_soak("9 s")
def test_a_file_that_keras_wrote(tmp_path: Path) -> None:
    theirs = keras.applications.ResNet50(weights=None, classes=5, input_shape=(64, 64, 3))
    theirs.save_weights(tmp_path / "a.weights.h5")
    theirs.save(tmp_path / "a.h5")
    image = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    for file in ("a.weights.h5", "a.h5"):
        ours = resnets.keras.ResNet50(weights=tmp_path / file, classes=5, input_shape=(64, 64, 3))
        assert np.allclose(ours.predict(image, verbose=0), theirs.predict(image, verbose=0), atol=1e-6)


@pytest.mark.parametrize(("name", "network"), [
    ("ResNet50", "keras_resnet50"),
    pytest.param("ResNet50V2", "keras_resnet50v2", marks=only_in_soak("the same once more")),
])  # fmt: skip
def test_a_checkpoint_of_resnets(name: str, network: str, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    net = zoo.build(network, num_classes=5).eval()
    names = ("a", "b", "c", "d", "e")
    path = tmp_path / "net.safetensors"
    checkpoints.save(path, Checkpoint(zoo.get_spec(network, num_classes=5), Preprocess.tf(64), names, net.state_dict()))
    image = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    if IN_SOAK:  # else with the run directory above
        with torch.no_grad():
            wanted = net(torch.as_tensor(image).permute(0, 3, 1, 2))
        found = getattr(resnets.keras, name)(
            weights=str(path), classes=5, classifier_activation=None, input_shape=(64, 64, 3)
        )
        assert found.output_shape == (None, 5)
        assert np.allclose(found.predict(image, verbose=0), wanted.numpy(), atol=1e-4 * wanted.abs().max().item())
    body = getattr(resnets.keras, name)(weights=str(path), include_top=False, pooling="avg")
    with torch.no_grad():
        pooled = net.forward_pooled(torch.as_tensor(image).permute(0, 3, 1, 2))
    assert np.allclose(body.predict(image, verbose=0), pooled.numpy(), atol=1e-4 * pooled.abs().max().item())
    other = "ResNet101" if name == "ResNet50" else "ResNet101V2"
    with pytest.raises(ValueError, match=f"weights of {network}"):
        getattr(resnets.keras, other)(weights=str(path), classes=5)


@pytest.mark.parametrize(("ours", "theirs"), [
    (resnets.keras.resnet, keras.applications.resnet), (resnets.keras.resnet_v2, keras.applications.resnet_v2),
])  # fmt: skip
@pytest.mark.parametrize("data_format", [None, "channels_last", "channels_first"])
def test_preprocess_input(ours: Any, theirs: Any, data_format: str | None) -> None:
    shape = (2, 3, 8, 8) if data_format == "channels_first" else (2, 8, 8, 3)
    images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    found = ours.preprocess_input(images.copy(), data_format=data_format)
    assert np.array_equal(found, theirs.preprocess_input(images.copy(), data_format=data_format))


def test_decode_predictions() -> None:
    probabilities = np.zeros((2, 1000), "float32")
    probabilities[0, [1, 999]] = 0.7, 0.3
    probabilities[1, 2] = 1.0
    found = resnets.keras.resnet.decode_predictions(probabilities, top=2)
    assert found[0] == [
        ("n01443537", "goldfish", pytest.approx(0.7)),
        ("n15075141", "toilet_tissue", pytest.approx(0.3)),
    ]
    assert found[1][0] == ("n01484850", "great_white_shark", 1.0)
    for place in (resnets.keras.resnet, keras.applications.resnet):
        with pytest.raises(ValueError, match="1000"):
            place.decode_predictions(np.zeros((1, 10)))
