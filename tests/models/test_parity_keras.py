"""The same weights give the same logits here and in Keras Applications, and in the models of the seed documents.

Those of Keras Applications are compared with RESNETS_EVERY_SIZE=1 only (`make soak`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import torch
from tests.in_soak import IN_SOAK, only_in_soak
from torch import Tensor, nn

from resnets.models.resnet import ResNet


@pytest.fixture(autouse=True)
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keras in float64; its normalization, mean and dense layers too, which else compute in float32 whatever they are
    given (its types follow those of JAX without 64 bits)."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy("float64")  # of the layers
    keras.config.set_floatx("float64")  # of the inputs
    for place in ("keras.src.backend", "keras.src.backend.common.dtypes"):
        monkeypatch.setattr(f"{place}.result_type", lambda *dtypes: "float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.utils.clear_session()


@only_in_soak("a second proof of the logits that tests/contracts/test_keras.py compares")
@pytest.mark.parametrize("version", ["", "V2"])
@pytest.mark.parametrize("depth", [50, 101, 152])
def test_logits_equal_keras_applications(depth, version, parity):
    name, keras_name = f"keras_resnet{depth}{version.lower()}", f"ResNet{depth}{version}"
    ours = parity.ours(name)
    # Only without its top does Keras take images of any size; its top is the mean over all places and this layer.
    body = getattr(keras.applications, keras_name)(
        weights=None, include_top=False, pooling="avg", input_shape=(None, None, 3)
    )
    theirs = keras.Model(body.input, keras.layers.Dense(1000, name="predictions")(body.output))
    for path, module in _layers(ours):
        _copy(module, theirs.get_layer(_applications_name(path, "v2" in name)))
    assert theirs.count_params() == sum(value.numel() for key, value in ours.state_dict().items() if "num_" not in key)
    parity.agree(ours, _as_torch(theirs))


def _applications_name(path: str, v2: bool) -> str:
    fixed = {"stem.conv": "conv1_conv", "stem.norm": "conv1_bn", "final.norm": "post_bn", "head.fc": "predictions"}
    if path in fixed:
        return fixed[path]
    match = re.fullmatch(r"stage(\d)\.block(\d+)\.(.*)", path)
    assert match is not None
    place = f"conv{int(match[1]) + 1}_block{match[2]}"
    part = match[3]
    if part == "norm":
        return f"{place}_preact_bn"
    if part.startswith("shortcut"):
        return f"{place}_0_{'conv' if part.endswith('conv') else 'bn'}"
    kind, number = re.fullmatch(r"branch\.(conv|norm)(\d)", part).groups()  # type: ignore[union-attr]
    if kind == "conv":
        return f"{place}_{number}_conv"
    return f"{place}_{int(number) - 1 if v2 else number}_bn"  # ours counts from the norm before its convolution


def _layers(net: ResNet) -> Iterator[tuple[str, nn.Module]]:
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            yield path, module


def _copy(module: nn.Module, layer: keras.Layer) -> None:
    """The weights of one of our layers into one of Keras'."""
    if isinstance(module, nn.Conv2d):
        values = [module.weight.permute(2, 3, 1, 0)]
    elif isinstance(module, nn.Linear):
        values = [module.weight.T]
    else:
        assert isinstance(module, nn.BatchNorm2d)
        assert layer.epsilon == module.eps
        assert layer.momentum == pytest.approx(1 - module.momentum)
        values = [module.weight, module.bias, module.running_mean, module.running_var]
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        values.append(module.bias)
    layer.set_weights([value.detach().numpy() for value in values])


def _as_torch(model: keras.Model) -> Callable[[Tensor], Tensor]:
    def run(images: Tensor) -> Tensor:
        output = model(images.permute(0, 2, 3, 1), training=False)
        return torch.as_tensor(np.asarray(output.detach()))

    return run


class Recorder:
    """Makes Keras layers and remembers those with weights in the order in which they were made."""

    def __init__(self) -> None:
        self.made: list[keras.Layer] = []

    def conv(self, x, filters, kernel, stride=1, padding="valid"):
        return self._keep(keras.layers.Conv2D(filters, kernel, strides=stride, padding=padding))(x)

    def norm(self, x):
        return self._keep(keras.layers.BatchNormalization(axis=3))(x)

    def dense(self, x, units):
        return self._keep(keras.layers.Dense(units))(x)  # the documents' softmax is left out: logits are compared

    def _keep(self, layer: keras.Layer) -> keras.Layer:
        self.made.append(layer)
        return layer


def _relu(x):
    return keras.layers.Activation("relu")(x)


def _bottleneck(k: Recorder, x, filters, stride, project):
    """Both block functions of the tutorial: the stride on the first 1x1, biases everywhere."""
    shortcut = x
    first, second, last = filters
    y = _relu(k.norm(k.conv(x, first, 1, stride)))
    y = _relu(k.norm(k.conv(y, second, 3, padding="same")))
    y = k.norm(k.conv(y, last, 1))
    if project:
        shortcut = k.norm(k.conv(shortcut, last, 1, stride))
    return _relu(keras.layers.Add()([y, shortcut]))


BLOCKS = (3, 4, 6, 3) if IN_SOAK else (1, 2, 2, 1)
PARAMETERS = 25_636_712 if IN_SOAK else 11_498_088  # as Keras counts them


def _bottleneck_stages(k: Recorder, x):
    for stage, blocks in enumerate(BLOCKS):
        width = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and block == 0 else 1
            x = _bottleneck(k, x, (width, width, 4 * width), stride, project=block == 0)
    return x


def _tutorial(k: Recorder, classes: int) -> keras.Model:
    inputs = keras.Input((None, None, 3))
    x = _relu(k.norm(k.conv(inputs, 64, 7, 2)))
    x = keras.layers.MaxPooling2D(3, 2)(x)
    x = keras.layers.GlobalMaxPooling2D()(_bottleneck_stages(k, x))
    return keras.Model(inputs, k.dense(x, classes))


def _notes_list(k: Recorder, classes: int) -> keras.Model:
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.ZeroPadding2D((3, 3))(inputs)
    x = _relu(k.norm(k.conv(x, 64, 7, 2)))
    x = keras.layers.MaxPooling2D(3, 2)(x)
    x = keras.layers.AveragePooling2D((2, 2))(_bottleneck_stages(k, x))
    return keras.Model(inputs, k.dense(keras.layers.Flatten()(x), classes))


def _notes_code(side: int, num_blocks: tuple[int, ...]) -> Callable[[Recorder, int], keras.Model]:
    def make(k: Recorder, classes: int) -> keras.Model:
        inputs = keras.Input((side, side, 3))
        x = _relu(k.norm(k.conv(inputs, 64, 7, 2, "same")))
        x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
        for stage, blocks in enumerate(num_blocks):
            width = 64 * 2**stage
            for block in range(blocks):
                stride = 2 if block == 0 else 1  # the default of their conv_block, in the first stage too
                y = _relu(k.norm(k.conv(x, width, 3, stride, "same")))
                y = k.norm(k.conv(y, width, 3, 1, "same"))
                shortcut = k.norm(k.conv(x, width, 1, stride, "same")) if block == 0 else x
                x = _relu(keras.layers.Add()([shortcut, y]))
        x = keras.layers.AveragePooling2D(4)(x)
        return keras.Model(inputs, k.dense(keras.layers.Flatten()(x), classes))

    return make


def _compare(ours: ResNet, make: Callable[[Recorder, int], keras.Model], parity, sizes) -> int:
    """Assert that the logits are equal; give the number of parameters as Keras counts them."""
    recorder = Recorder()
    theirs = make(recorder, ours.head.fc.out_features)
    for (_, module), layer in zip(_layers(ours), recorder.made, strict=True):
        _copy(module, layer)
    parity.agree(ours, _as_torch(theirs), sizes)
    return theirs.count_params()


def test_the_tutorials_network(parity):
    assert _compare(parity.ours("tutorial_resnet50", num_blocks=BLOCKS), _tutorial, parity, parity.SIZES) == PARAMETERS


def test_the_network_of_the_notes_list(parity):
    assert _compare(parity.ours("notes_resnet50", num_blocks=BLOCKS), _notes_list, parity, [(64, 64)]) == PARAMETERS


@pytest.mark.parametrize(("side", "num_blocks", "parameters"), [
    (193, (1, 2, 2, 1), 6_910_248),
    pytest.param(193, (3, 4, 6, 3), 21_827_624, marks=only_in_soak("2 s")),
    # The notes' code prints one identity block less than their list of stages.
    pytest.param(224, (3, 4, 5, 3), 20_645_416, marks=only_in_soak("2 s")),
])  # fmt: skip
def test_the_network_of_the_notes_code(side, num_blocks, parameters, parity):
    ours = parity.ours("notes_basic_resnet", imgsz=side, num_blocks=num_blocks)
    assert _compare(ours, _notes_code(side, num_blocks), parity, [(side, side)]) == parameters
