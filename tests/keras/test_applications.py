"""Keras' own tests of its applications, with our functions in place of its six.

`keras/src/applications/applications_test.py` is part of the package. Left out is its test_application_base, which downloads
weights and an image and imports TensorFlow. Three of ResNet50, whose wrapper is that of the others, run in `make test`, all
with RESNETS_EVERY_SIZE=1 (`make soak`).
"""

from __future__ import annotations

import importlib
import unittest

import keras
import pytest
from keras.src.applications import resnet, resnet_v2
from tests.in_soak import IN_SOAK

import resnets.keras

NAMES = ("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2")
TESTED = NAMES if IN_SOAK else ("ResNet50",)
TESTS = ("notop_custom_input_shape", "pooling", "classifier_activation",
         *(("notop_variable_input_channels", "notop_custom_input_tensor") if IN_SOAK else ()))  # fmt: skip
FORMATS = ("channels_first", "channels_last") if IN_SOAK else ("channels_last",)


@pytest.fixture(scope="module")
def theirs(request: pytest.FixtureRequest):
    """Their tests, whose table of models was made with ours."""
    request.config.addinivalue_line("markers", "requires_trainable_backend: a mark of Keras' own tests")
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setattr(resnet_v2 if name.endswith("V2") else resnet, name, getattr(resnets.keras, name))
        module = importlib.import_module("keras.src.applications.applications_test")
        module = importlib.reload(module)
    tested = {model[0] for model in module.MODEL_LIST}
    assert tested >= {getattr(resnets.keras, name) for name in NAMES}
    kept = keras.config.image_data_format()
    yield module.ApplicationsTest
    keras.config.set_image_data_format(kept)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("name", TESTED)
def test_of_keras(name: str, test: str, theirs) -> None:
    for data_format in FORMATS:
        result = unittest.TestResult()
        theirs(f"test_application_{test}_{name}_{data_format}").run(result)
        assert result.testsRun == 1
        assert not result.skipped
        assert not result.failures + result.errors
        keras.utils.clear_session()
