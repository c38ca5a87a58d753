"""The value that turns a file into a network's input, beside torchvision's transforms and Keras' preprocessing."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from PIL import Image
from tests.in_soak import IN_SOAK
from torchvision.transforms import v2

from resnets.data.image.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from resnets.errors import UserError

SIZES = [(224, 224), (301, 233), (97, 640), (640, 97), (17, 19), (256, 341)]  # height, width


def photograph(height: int, width: int, seed: int = 0) -> Image.Image:
    """Soft colors and edges with grain."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    soft = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((soft + random.normal(0, 6, soft.shape)).clip(0, 255).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def theirs(*steps: object, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    return v2.Compose([*steps, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_torchvisions_evaluation(size, interpolation):
    image = photograph(*size)
    mode = v2.InterpolationMode(interpolation)
    wanted = theirs(v2.Resize(73, interpolation=mode, antialias=True), v2.CenterCrop(64))(image)
    found = Preprocess(size=(64, 64), resize_to=73, interpolation=interpolation).load(png(image))
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() < 1e-6


@pytest.mark.parametrize("size", [(301, 233), (17, 19)])
def test_imagenet_is_what_torchvisions_weights_say(size):
    from torchvision.models import ResNet50_Weights

    image = photograph(*size)
    wanted = ResNet50_Weights.IMAGENET1K_V1.transforms()(image)
    assert (Preprocess.imagenet().load(png(image)) - wanted).abs().max() < 1e-6


@pytest.mark.parametrize("size", [(20, 31), (21, 90), (90, 21), (32, 47), (36, 20)])
def test_an_image_smaller_than_the_crop_is_padded_with_black(size):
    image = photograph(*size)
    wanted = theirs(v2.CenterCrop((33, 48)))(image)
    found = Preprocess(size=(33, 48), resize="none")(np.asarray(image))
    assert (found - wanted).abs().max() < 1e-6


MARGINS = [0, 1, 2, 3, 5, 7]  # an odd one is halved to the even number: down at 1 and 5, up at 3 and 7


@pytest.mark.parametrize("across", MARGINS)
@pytest.mark.parametrize("down", MARGINS)
def test_the_center_crop_is_torchvisions_at_any_margin(down, across):
    image = photograph(48 + down, 48 + across)
    value = Preprocess(size=(48, 48), resize="none")
    assert (value(image) - theirs(v2.CenterCrop(48))(image)).abs().max() < 1e-6
    ten = value.views(np.asarray(image), crops=10)
    assert ten.shape == (10, 3, 48, 48)
    for have, wanted in zip(ten, v2.TenCrop(48)(image), strict=True):
        assert (have - theirs()(wanted)).abs().max() < 1e-6


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("size", [(60, 81), (75, 64), (64, 64)])
def test_ten_crops_of_a_resized_image_are_torchvisions(size, margin):
    image = photograph(*size)
    crops = v2.Compose([v2.Resize(48 + margin, antialias=True), v2.TenCrop(48)])(image)
    found = Preprocess(size=(48, 48), resize_to=48 + margin).views(np.asarray(image), crops=10)
    for have, wanted in zip(found, crops, strict=True):
        assert (have - theirs()(wanted)).abs().max() < 1e-6


def test_views_that_cannot_be():
    value = Preprocess(size=(48, 48), resize="none")
    with pytest.raises(UserError, match="crops is 1, 6 or 10; received 5"):
        value.views(np.zeros((60, 60, 3), np.uint8), crops=5)
    with pytest.raises(UserError, match="48x48 need a larger image; received 60x40"):
        value.views(np.zeros((40, 60, 3), np.uint8), crops=10)


@pytest.mark.parametrize("mode", ["caffe", "tf"])
@pytest.mark.parametrize("size", [(64, 64), (97, 51)])
def test_keras_preprocessing(mode, size):
    image = photograph(*size)
    resized = Image.Image.resize(image, (48, 48), Image.Resampling.BILINEAR)
    module = keras.applications.resnet if mode == "caffe" else keras.applications.resnet_v2
    wanted = module.preprocess_input(np.asarray(resized).astype("float32"), data_format="channels_last")
    found = getattr(Preprocess, mode)(48).load(png(image)).permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(64, 64), (97, 51), (31, 40)])
def test_resizing_without_antialias_is_that_of_keras(interpolation, size):
    """As keras.utils.image_dataset_from_directory does it."""
    image = np.asarray(photograph(*size))
    wanted = keras.ops.convert_to_numpy(
        keras.ops.image.resize(image.astype("float32"), (48, 36), interpolation, data_format="channels_last")
    )
    value = Preprocess(
        size=(48, 36),
        resize="stretch",
        interpolation=interpolation,
        antialias=False,
        scale=1.0,
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    assert np.abs(value(image).permute(1, 2, 0).numpy() - wanted).max() < 1e-5


def tensorflows_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Two neighbors along each axis, between centers of pixels: tf.image.resize without antialias, written out."""
    values = image.astype(float)
    for axis, length in ((0, height), (1, width)):
        old = values.shape[axis]
        index = (np.arange(length) + 0.5) * old / length - 0.5
        low = np.floor(index).astype(int)
        fraction = (index - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        lower, upper = (values.take(each.clip(0, old - 1), axis) for each in (low, low + 1))
        values = lower * (1 - fraction) + upper * fraction
    return values


@pytest.mark.parametrize("mode", ["caffe", "tf"])
@pytest.mark.parametrize("size", [(64, 64), (97, 51), (31, 40), (301, 233)])
def test_keras_preprocessing_without_antialias_by_the_formula(mode, size):
    """Keras on torch resizes with the function that is tested; this does not."""
    image = np.asarray(photograph(*size))
    module = keras.applications.resnet if mode == "caffe" else keras.applications.resnet_v2
    wanted = module.preprocess_input(tensorflows_bilinear(image, 48, 48), data_format="channels_last")
    found = replace(getattr(Preprocess, mode)(48), antialias=False)(image).permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()  # of float32


def test_pad_keeps_the_whole_image():
    value = Preprocess(
        size=(60, 60), resize="pad", background=(9, 99, 199), interpolation="nearest", mean=(0,) * 3, std=(1,) * 3
    )
    found = value.resize_crop(np.full((30, 60, 3), 200, np.uint8))
    assert (found[15:45] == 200).all()
    assert (found[:15] == (9, 99, 199)).all()
    assert (found[45:] == (9, 99, 199)).all()


def test_color_orders():
    image = np.zeros((4, 4, 3), np.uint8)
    image[...] = (200, 100, 50)
    plain = {"size": (4, 4), "resize": "none", "scale": 1.0}
    rgb, bgr = (Preprocess(**plain, color=name, mean=(0,) * 3, std=(1,) * 3)(image)[:, 0, 0] for name in ("rgb", "bgr"))
    assert (rgb.tolist(), bgr.tolist()) == ([200, 100, 50], [50, 100, 200])
    gray = Preprocess(**plain, color="gray", mean=(0,), std=(1,))(image)
    assert gray.shape == (1, 4, 4)
    assert gray[0, 0, 0].item() == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1e-4)


def test_a_mean_image():
    mean = np.random.default_rng(0).uniform(0, 1, (3, 6, 8))
    value = Preprocess(size=(6, 8), resize="none", mean=tuple(mean.flatten()), std=(1, 1, 1))
    image = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    wanted = image.transpose(2, 0, 1) / 255 - mean
    assert np.abs(value(image).numpy() - wanted).max() < 1e-6
    assert value.with_size(12).size == (12, 12)
    assert len(value.with_size(12).mean) == 3 * 12 * 12


def test_normalize_takes_batches_of_any_type():
    images = torch.randint(0, 256, (2, 5, 3, 8, 8), dtype=torch.uint8)
    value = Preprocess.imagenet(8)
    one = value.normalize(images)
    assert (one.shape, one.dtype) == (images.shape, torch.float32)
    assert torch.allclose(one, value.normalize(images.double()))


@pytest.mark.parametrize(
    "value",
    [
        Preprocess(), Preprocess.imagenet(180), Preprocess.caffe(), Preprocess.tf(64),
        Preprocess.plain(32, (0.5,) * 3, (0.2,) * 3),
        Preprocess(size=(30, 40), resize="pad", color="gray", mean=(0.1,), std=(0.3,), background=(1, 2, 3), fast_jpeg=False),
    ],
)  # fmt: skip
def test_json_and_back(value):
    again = Preprocess.from_dict(json.loads(json.dumps(value.to_dict())))
    assert again == value
    assert hash(again) == hash(value)


WRONG = [
    ({"resize": "shortre"}, "resize is one of .*received 'shortre'. Did you mean 'shorter'"),
    ({"interpolation": "cubic"}, "Did you mean 'bicubic'"),
    ({"color": "hsv"}, "color is one of rgb, bgr, gray; received 'hsv'"),
    ({"crop": "left"}, "crop is one of"),
    ({"size": (224,)}, "size is a height and a width"),
    ({"size": (0, 224)}, "at least 1 pixel"),
    ({"size": (2.5, 2)}, "size is a list of whole numbers"),
    ({"resize_to": 100}, "resize_to is at least the larger side"),
    ({"mean": (0.5,)}, "rgb has 3 channel"),
    ({"mean": (float("nan"), 0, 0)}, "mean is a list of finite numbers"),
    ({"std": (1, 0, 1)}, "std and scale are greater than 0"),
    ({"scale": 0.0}, "std and scale are greater than 0"),
    ({"background": (0, 0, 256)}, "from 0 to 255"),
    ({"antialias": False}, "antialias can only be off"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_nonsense_is_refused_in_one_line(values, message):
    with pytest.raises(UserError, match=message) as caught:
        Preprocess(**values)
    assert "\n" not in str(caught.value)


def test_a_header_with_an_unknown_or_unfit_setting():
    with pytest.raises(UserError, match=r"no setting 'siez'\. Did you mean 'size'"):
        Preprocess.from_dict({"siez": [1, 1]})
    with pytest.raises(UserError, match="cannot have size='large'"):
        Preprocess.from_dict({"size": "large"})
    with pytest.raises(UserError, match="cannot have fast_jpeg=1"):
        Preprocess.from_dict({"fast_jpeg": 1})


@pytest.mark.parametrize("size", [(1, 200_000), (60_000, 4), *([(200_000, 1)] if IN_SOAK else [])])
def test_only_the_center_of_a_very_long_image_is_resized(size):
    strip = np.zeros((size[1], size[0], 3), np.uint8)
    middle = (slice(size[1] // 2 - 2, size[1] // 2 + 2), slice(size[0] // 2 - 2, size[0] // 2 + 2))
    strip[middle if min(size) > 1 else tuple(slice(max(each.start, 0), each.stop) for each in middle)] = 255
    made = Preprocess.imagenet().load(png(Image.fromarray(strip)))
    assert made.shape == (3, 224, 224)
    assert made[0, 112, 112] > 2  # white
    assert Preprocess.imagenet().read(png(Image.fromarray(strip))).shape == strip.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pillow_image_gets_the_orientation_of_its_file(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    scene = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    path = tmp_path / "turned.png"
    Image.fromarray(scene).resize((90, 60)).save(path, exif=exif)
    preprocess = Preprocess.imagenet(32)
    with Image.open(path) as image:
        assert torch.equal(preprocess(image), preprocess.load(path))
        assert torch.equal(preprocess.views(image)[0], preprocess.load(path))


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA"])
def test_a_pillow_image_of_any_mode_is_taken(mode):
    image = Image.fromarray(np.full((40, 50, 3), 200, np.uint8)).convert(mode)
    assert Preprocess.imagenet(32)(image).shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("a.jpg", "Received a str .*`Preprocess.load` reads files"),
        (Path("a.jpg"), "Received a PosixPath"),
        (np.zeros((8, 8, 3), np.float32), r"received float32 \(8, 8, 3\)"),
        (np.zeros((8, 8), np.uint8), r"received uint8 \(8, 8\)"),
        (None, "received NoneType"),
    ],
)
def test_the_error_for_other_input_says_what_an_image_is(wrong, message):
    for preprocess in (Preprocess.imagenet(32), Preprocess.tf(32)):
        with pytest.raises(UserError, match=message):
            preprocess(wrong)


def test_at_another_side():
    assert Preprocess.imagenet(224).with_size(112) == Preprocess.imagenet(112)
    assert Preprocess.caffe(224).with_size(64) == Preprocess.caffe(64)


# ---- decoding at a smaller scale, which is quicker and changes the result a little -----------------------------------------

# In steps of 0 to 255, over the normalized image's pixels: mean and greatest difference of a scaled decoding.
MEAN_LIMIT, MOST_LIMIT = 2.0, 40.0


def _drafted(content: bytes) -> torch.Tensor:
    """How far `fast_jpeg` moves the pixels of the input, in steps of 0 to 255."""
    plain = {"scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    quick = Preprocess(**plain).load(content)
    exact = Preprocess(**plain, fast_jpeg=False).load(content)
    return (quick - exact).abs()


# At half and at a quarter of the scale.
LARGE = [(1200, 1600), (2100, 2300), *([(2000, 1500), (3000, 4000)] if IN_SOAK else [])]


@pytest.mark.parametrize("size", LARGE)
def test_scaled_decoding_stays_within_the_stated_tolerance(size):
    file = io.BytesIO()
    photograph(*size).save(file, "JPEG", quality=90)
    off = _drafted(file.getvalue())
    print(f"{size}: mean {off.mean():.3f}, greatest {off.max():.1f}")
    assert 0 < off.mean() < MEAN_LIMIT  # it is really another way
    assert off.max() < MOST_LIMIT


def test_scaled_decoding_of_real_photographs(shared):
    """Real ones, enlarged to the size at which a camera would have taken them."""
    with tarfile.open(shared("data/flower_photos.tar")) as archive:
        members = [member for member in archive if member.name.endswith(".jpg")][:400:50]
        contents = [archive.extractfile(member).read() for member in members]
    means, most = [], []
    for content in contents:
        image = Image.open(io.BytesIO(content))
        file = io.BytesIO()
        image.resize((image.width * 5, image.height * 5), Image.Resampling.LANCZOS).save(file, "JPEG", quality=92)
        off = _drafted(file.getvalue())
        means.append(off.mean().item())
        most.append(off.max().item())
    print(f"mean {max(means):.3f}, greatest {max(most):.1f}")
    assert max(means) < MEAN_LIMIT
    assert max(most) < MOST_LIMIT


def test_small_images_and_pngs_are_never_scaled():
    image = photograph(450, 500)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    assert _drafted(file.getvalue()).max() == 0
    assert _drafted(png(photograph(1200, 1600))).max() == 0


@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
def test_a_jpeg_at_a_smaller_scale_is_not_shifted(orientation: int) -> None:
    """At 1/8, 2,057 pixels are decoded as 258, the last of which reaches 7 pixels beyond the image."""
    pixels = np.zeros((2057, 2065, 3), np.uint8)
    pixels[:, 2000:], pixels[2000:, :, 2] = 255, 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif)
    fit = Preprocess(size=(96, 96), resize="fit", mean=(0.0,) * 3, std=(1.0,) * 3)
    fast, placement = fit.load_placed(file.getvalue())
    exact, same = replace(fit, fast_jpeg=False).load_placed(file.getvalue())
    assert placement == same
    torch.testing.assert_close(fast, exact, rtol=0, atol=0.02)
