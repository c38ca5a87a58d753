"""A model as it is served: its name, its hash, images as it takes them, and one job for all requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests import exported_files, tiny_checkpoint
from tests.serve.running import encode, images, reference, segmenter, serve, tiny_model

from resnets.data.image.decode import MAX_PIXELS
from resnets.data.image.open_image_file import DecodeError
from resnets.errors import ImageError, UserError
from resnets.hashing import sha256
from resnets.serve import served_model
from resnets.tasks import load_model
from resnets.tasks.inputs.batching import Prepared


def test_a_name_has_the_signs_of_addresses() -> None:
    assert serve(tiny_model(), "my flowers/größe").name == "my_flowers_gr__e"


def test_models_of_one_name_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "model.safetensors"
    other.write_bytes(exported_files.checkpoint_file().read_bytes())
    paths = [str(exported_files.checkpoint_file()), str(other)]
    with pytest.raises(UserError, match="Two models would have the name 'model'"):
        served_model.load_all(paths, device="cpu", precision="fp32")
    (only,) = served_model.load_all(paths[1:], device="cpu", precision="fp32")
    assert (only.name, only.sha256) == ("model", sha256(other))


def test_the_given_model_is_left_as_it_is() -> None:
    model = tiny_model()
    before = model.runner
    served = serve(model)
    assert model.runner is before
    assert served.model.runner is not before
    assert served.model.runner.job(3, 3) is served.model.runner.job(7, 1)  # one for all requests
    assert model.predict([images()[0]])[0].top == served.model.predict([images()[0]])[0].top


def test_images_as_the_model_takes_them() -> None:
    served = serve(reference())
    pixels = tiny_checkpoint.colored_images(1)[0]
    for found in (served.decode(images()[0], "x", MAX_PIXELS), served.of_pixels(pixels, "x")):
        assert isinstance(found, Prepared)
        np.testing.assert_array_equal(found.inputs[0][0].numpy(), reference().preprocess(pixels).numpy())
    any_size = serve(segmenter())
    np.testing.assert_array_equal(np.asarray(any_size.decode(images()[0], "x", MAX_PIXELS)), pixels)
    assert any_size.of_pixels(pixels, "x") is pixels


def test_images_that_are_refused() -> None:
    served = serve(reference())
    with pytest.raises(DecodeError, match="at most 100 are read") as caught:
        served.decode(images()[0], "x", 100)
    assert caught.value.kind == "bomb"
    with pytest.raises(DecodeError, match="has 32769x1 pixels; a side of at most 32,768"):
        served.decode(encode(np.zeros((1, 32769, 3), np.uint8)), "x", MAX_PIXELS)
    with pytest.raises(DecodeError, match="more than 10,000 chunks"):
        served.decode(images()[0][:8] + (bytes(4) + b"tEXt" + bytes(4)) * 10_001, "x", MAX_PIXELS)
    with pytest.raises(ImageError, match="is text"):
        served.decode(b"hello", "x", MAX_PIXELS)


def test_which_models_take_tensors() -> None:
    assert serve(reference()).takes_tensors
    assert not serve(segmenter()).takes_tensors


def test_how_many_threads_compute_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert serve(tiny_model()).num_threads == 6
    compiled = load_model.load(exported_files.checkpoint_file(), "cpu", backend="compile")
    assert serve(compiled).num_threads == 1  # its code has the number of threads in it
