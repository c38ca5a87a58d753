"""Models made of specifications: what they refuse."""

from __future__ import annotations

import pytest

import resnets
import resnets.keras
from resnets.errors import UserError


def test_a_shape_that_does_not_fit_is_refused_in_one_line():
    spec = resnets.get_spec("notes_basic_resnet", imgsz=224)
    for arguments, message in [
        ({"input_shape": (128, 128, 3)}, "takes images of that side only; received input_shape=\\(128, 128, 3\\)"),
        ({"input_shape": (224, 224, 1)}, "takes 3 channels"),
        ({"input_shape": (0, 224, 3), "include_top": False}, "pixels at least"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            resnets.keras.from_spec(spec, **arguments)
        assert "\n" not in str(caught.value)
    assert resnets.keras.from_spec(spec, include_top=False, input_shape=(None, None, 3)).output_shape[-1] == 512


def test_wrong_types_and_layers_that_keras_does_not_have():
    with pytest.raises(UserError, match=r"takes the result of resnets.get_spec\(...\); received str"):
        resnets.keras.from_spec("resnet18")
    with pytest.raises(UserError, match="Stochastic depth has no layer"):
        resnets.keras.from_spec(resnets.get_spec("resnet18", drop_path_rate=0.1))
    with pytest.raises(UserError, match="shortcut_dropout=0"):
        resnets.keras.from_spec(resnets.get_spec("resnet18", shortcut_dropout=0.1))


def test_any_number_of_channels_and_any_side():
    model = resnets.keras.from_spec(resnets.get_spec("tiny", num_classes=4, in_channels=5))
    assert (model.input_shape, model.output_shape) == ((None, None, None, 5), (None, 4))
    assert model.name == "tiny"
