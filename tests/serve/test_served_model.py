"""A model as it is served: its name, its hash, images as it takes them, and one job for all requests."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, features
from tests import exported_files, tiny_checkpoint
from tests.serve.running import END_SECONDS, encode, images, reference, segmenter, serve, tiny_model

from resnets.data.image import decode
from resnets.data.image.decode import MAX_PIXELS
from resnets.data.image.open_image_file import DecodeError
from resnets.errors import ImageError, UserError
from resnets.hashing import sha256
from resnets.serve import served_model
from resnets.serve.pixel_budget import PixelBudget
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_an_image_that_exif_turns_is_the_same_for_the_server_and_for_predict(kind: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned by 90 degrees
    content = encode(tiny_checkpoint.colored_images(1)[0], kind, exif=exif)
    with Image.open(io.BytesIO(content)) as stored:
        upright = np.rot90(np.asarray(stored.convert("RGB")), -1).copy()
    assert upright.shape[0] != upright.shape[1]
    np.testing.assert_array_equal(np.asarray(serve(segmenter()).decode(content, "x", MAX_PIXELS)), upright)
    prepared = serve(reference()).decode(content, "x", MAX_PIXELS)
    assert isinstance(prepared, Prepared)
    np.testing.assert_array_equal(prepared.inputs[0][0].numpy(), reference().preprocess(upright).numpy())
    file = tmp_path / "image"
    file.write_bytes(content)
    found, wanted = reference().predict([file, upright])
    assert found.top == wanted.top


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


@pytest.mark.parametrize("keeps_size", [False, True])
def test_pixels_wait_until_there_is_room_for_them(monkeypatch: pytest.MonkeyPatch, keeps_size: bool) -> None:
    """Images that are decoded, and those that keep their size until they were computed, since they may be as large as it."""
    served = serve(segmenter() if keeps_size else reference())
    budget = PixelBudget(1)
    monkeypatch.setattr(served_model, "_budget", budget)
    found: list[Any] = []
    with ExitStack() as room:
        with budget.taken(1):
            arguments = images()[0], "x", MAX_PIXELS, room
            thread = threading.Thread(target=lambda: found.append(served.decode(*arguments)))
            thread.start()
            while not budget._turn.locked():  # it waits
                assert thread.is_alive()
            assert not found
        thread.join(END_SECONDS)
        assert len(found) == 1
        assert bool(budget._used) is keeps_size
    assert not budget._used


def test_a_file_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header is read in Python, for each request."""
    names: list[str] = []
    header = decode._header
    monkeypatch.setattr(decode, "_header", lambda reader, file: names.append(reader.format) or header(reader, file))
    serve(reference()).decode(images()[0], "x", MAX_PIXELS)
    serve(segmenter()).decode(images()[0], "x", MAX_PIXELS)
    assert names == ["PNG", "PNG"]


# Of each decoder in Pillow that is reached, options that make it take long for the size of the file.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"progressive": True}),
    "PNG": ("PNG", {"compress_level": 1}),
    "GIF": ("GIF", {}),
    "BMP": ("BMP", {}),
    "PNM": ("PPM", {}),
    "WebP": ("WEBP", {"quality": 50, "method": 0}),
    "lossless WebP": ("WEBP", {"lossless": True, "quality": 0, "method": 0}),
    "AVIF": ("AVIF", {"speed": 10}),
    "TIFF, deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, JPEG": ("TIFF", {"compression": "jpeg"}),
}


def blocks(side: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1)


def longest_hold(content: bytes) -> float:
    """The longest part of the CPU time of the thread that decodes a file in which no other thread of Python ran."""
    served = serve(reference())
    thread = threading.Thread(target=served.decode, args=(content, "x", MAX_PIXELS))
    thread.start()
    clock, seconds = time.pthread_getcpuclockid(thread.ident or 0), [0.0]
    with contextlib.suppress(OSError):  # of a clock that is gone
        while thread.is_alive():
            seconds.append(time.clock_gettime(clock))
    thread.join()
    return float(np.diff(seconds).max() / seconds[-1])


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="needs the clock of a thread")
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_lets_the_server_answer_others(kind: str) -> None:
    """So an image that takes long to decode holds nobody else up, and need not be decoded in a process that can be killed."""
    form, options = KINDS[kind]
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    content = encode(blocks(1536), form, **options)
    last = time.monotonic() + END_SECONDS
    while longest_hold(content) > 0.5:  # a busy machine may have run no other thread meanwhile
        assert time.monotonic() < last


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="needs the clock of a thread")
@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
def test_jpeg_2000_which_lets_nobody_else_answer_has_a_smaller_limit() -> None:
    """The day that this fails, the limit has no reason any more."""
    options = {"quality_mode": "rates", "quality_layers": [20]}
    content = encode(blocks(512), "JPEG2000", **options)
    assert min(longest_hold(content) for _ in range(3)) > 0.5
    large = encode(np.zeros((1, served_model.MAX_SIDE, 3), np.uint8), "JPEG2000")
    assert isinstance(serve(reference()).decode(large, "x", MAX_PIXELS), Prepared)
    beyond = encode(np.zeros((65, served_model.MAX_SIDE, 3), np.uint8), "JPEG2000")
    with pytest.raises(DecodeError, match="JPEG 2000 image of 32768x65 pixels; at most 2,097,152 are read") as caught:
        serve(reference()).decode(beyond, "x", MAX_PIXELS)
    assert caught.value.kind == "bomb"


def test_which_models_take_tensors() -> None:
    assert serve(reference()).takes_tensors
    assert not serve(segmenter()).takes_tensors


def test_how_many_threads_compute_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert serve(tiny_model()).num_threads == 6
    compiled = load_model.load(exported_files.checkpoint_file(), "cpu", backend="compile")
    assert serve(compiled).num_threads == 1  # its code has the number of threads in it
