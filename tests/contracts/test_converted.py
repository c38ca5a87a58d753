"""Every file that `convert` writes is opened by the library that it is for and gives our probabilities, from an image file on.

One test for a few kinds of networks that a format has (test_keras.py has all kinds of layers of Keras), and for each container
with one or two of them. The checkpoint has a temperature that is not 1, random weights and random statistics; the
depth is that of the shallowest network of a family, or two blocks a stage where the format takes any depth. With
RESNETS_EVERY_SIZE=1 (`make soak`) every depth is written in every container.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import keras as keras_library
import numpy as np
import pytest
import timm as timm_library
import torch
import torchvision as torchvision_library
from huggingface_hub import ModelCard
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from tests.in_soak import IN_SOAK
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

import resnets.keras
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.spec import ResNetSpec
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.conversion import convert
from resnets.weights.formats import fold_into_tensors, huggingface, keras, timm, torchvision
from resnets.weights.load_weights import load

NAMES = ("daisy", "rose, red", "tulip", "„Löwenzahn“", "e")
TEMPERATURE = 0.5
SIDE = 64


def randomized(net: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.4, 1.0, generator=generator)
                module.bias.uniform_(-0.3, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


@functools.lru_cache(maxsize=4)
def made(spec: ResNetSpec, preprocess: Preprocess | None = None) -> Checkpoint:
    """A checkpoint with classes and a temperature whose probabilities depend on the image."""
    spec = dataclasses.replace(spec, num_classes=len(NAMES))
    torch.manual_seed(0)
    net = randomized(build(spec))
    side = net.fixed_size or max(SIDE, net.min_size)
    preprocess = preprocess or Preprocess.imagenet(side)
    provenance = {"split_sha256": "12" * 32, "parent_sha256": "ab" * 32, "license": "apache-2.0"}
    metrics = {"top1": 0.9, "count": 60, "split": "test", "protocol": "60 images of the test split"}
    first = Checkpoint(spec, preprocess, NAMES, net.state_dict(), metrics=metrics, provenance=provenance)
    with torch.inference_mode():  # logits that neither agree on all images nor saturate
        logits = net(torch.randn(4, spec.in_channels, *preprocess.size, generator=torch.Generator().manual_seed(1)))
    scale = 1 / logits.std().item()
    head = {name: first.tensors[name] * scale for name in ("head.fc.weight", "head.fc.bias")}
    return dataclasses.replace(first, tensors={**first.tensors, **head}, fitted={"temperature": TEMPERATURE})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PNG files of shapes whose crop cuts an even number of rows and columns (see `huggingface.remarks`)."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = []
    for number, (height, width) in enumerate([(100, 200), (90, 90), (160, 80)]):
        coarse = Image.fromarray(random.integers(0, 256, (7, 7, 3), dtype=np.uint8))
        paths.append(folder / f"{number}.png")
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def ours(checkpoint: Checkpoint, files: list[Path]) -> Tensor:
    batch = torch.stack([checkpoint.preprocess.load(path) for path in files])
    with torch.inference_mode():
        return (checkpoints.network(checkpoint)(batch) / checkpoint.temperature).softmax(1)


def agree(found: Tensor, checkpoint: Checkpoint, files: list[Path], bound: float = 1e-5) -> None:
    wanted = ours(checkpoint, files)
    assert wanted.std(0).max() > 1e-4  # nothing that a constant could reach
    assert (found - wanted).abs().max() < bound
    cold = ours(dataclasses.replace(checkpoint, fitted={}), files)
    assert (found - cold).abs().max() > 10 * bound  # so that a dropped temperature would be found


def inputs(checkpoint: Checkpoint, files: list[Path]) -> Tensor:
    return torch.stack([checkpoint.preprocess.load(path) for path in files])


def written(checkpoint: Checkpoint, to: str, out: Path) -> list[str]:
    source = out.parent / "source.safetensors"
    checkpoints.save(source, checkpoint)
    return convert(source, to=to, out=out)


def shallow(spec: ResNetSpec) -> ResNetSpec:
    return spec if IN_SOAK else at_most(2, spec)


def at_most(blocks: int, spec: ResNetSpec) -> ResNetSpec:
    return dataclasses.replace(spec, num_blocks=tuple(min(depth, blocks) for depth in spec.num_blocks))


def cases(names: list[str], suffixes: tuple[str, ...], others: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Every network with the first container, and some, or with RESNETS_EVERY_SIZE all, with the others."""
    more = [(name, suffix) for suffix in suffixes[1:] for name in (names if IN_SOAK else others[suffix])]
    return [(name, suffixes[0]) for name in names] + more


TORCHVISION = [name for name in torchvision.NAMES if IN_SOAK] or ["resnet18"]
# The tensors of others are compared bit by bit in test_weights.py.
TIMM = [name for name in timm.NAMES if IN_SOAK] or ["resnet18", "resnet18d"]
TRANSFORMERS = ["resnet18", "resnet50", *(("resnet50_v1", "resnet101", "resnet152_v1") if IN_SOAK else ())]


@pytest.mark.parametrize(
    ("name", "suffix"), cases(TORCHVISION, (".pth", ".safetensors"), {".safetensors": ("resnet18",)})
)
def test_torchvision(name: str, suffix: str, files: list[Path], tmp_path: Path) -> None:
    checkpoint = made(zoo.get_spec(name))
    lines = written(checkpoint, "torchvision", tmp_path / f"net{suffix}")
    state = load_file(tmp_path / f"net{suffix}") if suffix == ".safetensors" else torch.load(tmp_path / f"net{suffix}")
    net = torchvision_library.models.get_model(name, num_classes=5).eval()
    net.load_state_dict(state)
    with torch.inference_mode():
        agree(net(inputs(checkpoint, files)).softmax(1), checkpoint, files)
    assert "temperature 0.5 folded into fc" in lines[-2]
    assert "class names (daisy, rose, red, tulip, ...); preprocessing (shorter side to 73" in lines[-1]


@pytest.mark.parametrize(
    ("name", "suffix"),
    cases(TIMM, ("", ".safetensors", ".pth"), dict.fromkeys((".safetensors", ".pth"), ("resnet18",))),
)
def test_timm(name: str, suffix: str, files: list[Path], tmp_path: Path) -> None:
    checkpoint = made(timm.spec_of(name))
    out = tmp_path / f"net{suffix}"
    lines = written(checkpoint, "timm", out)
    assert any("temperature 0.5 folded into" in line for line in lines)
    assert any("not in net" in line for line in lines) == bool(suffix)
    if suffix:
        net = timm_library.create_model(name, num_classes=5, checkpoint_path=str(out)).eval()
        with torch.inference_mode():
            agree(net(inputs(checkpoint, files)).softmax(1), checkpoint, files)
        return
    net = timm_library.create_model(f"local-dir:{out}", pretrained=True).eval()
    transform = timm_library.data.create_transform(**timm_library.data.resolve_data_config(model=net))
    batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in files])
    with torch.inference_mode():
        agree(net(batch).softmax(1), checkpoint, files)
    assert net.pretrained_cfg["label_names"] == list(NAMES)
    again = load(out)  # and comes back with all that it had but the temperature, which is in the weights now
    back = again.checkpoint
    assert (back.class_names, back.temperature, again.has_preprocess) == (NAMES, 1.0, True)
    assert dataclasses.replace(back.preprocess, fast_jpeg=True) == checkpoint.preprocess
    agree(ours(back, files), checkpoint, files)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name: str, files: list[Path], tmp_path: Path) -> None:
    checkpoint = made(shallow(zoo.get_spec(name)))
    lines = written(checkpoint, "huggingface", tmp_path / "hf")
    assert any("temperature 0.5 folded into classifier.1" in line for line in lines)
    with safe_open(tmp_path / "hf" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "temperature_folded": "0.5"}
    net = AutoModelForImageClassification.from_pretrained(tmp_path / "hf").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "hf", backend="pil")
    batch = torch.cat([processor(Image.open(path), return_tensors="pt")["pixel_values"] for path in files])
    with torch.inference_mode():
        agree(net(batch).logits.softmax(1), checkpoint, files)
    # As people use it; its resize with torchvision rounds to another of 256 levels here and there.
    answers = pipeline("image-classification", model=str(tmp_path / "hf"), top_k=5)([str(path) for path in files])
    shares = [[next(a["score"] for a in each if a["label"] == label) for label in NAMES] for each in answers]
    agree(torch.tensor(shares), checkpoint, files, bound=5e-3)
    back = load(tmp_path / "hf").checkpoint
    assert (back.class_names, back.temperature, back.preprocess) == (NAMES, 1.0, checkpoint.preprocess)


KINDS = ["cifar_highway20"]
# Their layers as Keras computes them are compared in test_keras.py.
ALSO = [
    *("resnet18", "cbam_resnet18", "keras_resnet50v2"),
    *("resnet34_a", "resnet50d", "resnext50_32x4d", "se_resnet18", "keras_resnet50", "tutorial_resnet50"),
    *("resnet50_v2", "notes_resnet50", "tiny"),
    *(
        "resnet50",
        "resnet50_v1",
        "resnet34_c",
        "resnet50c",
        "wide_resnet50_2",
        "se_resnet50",
        "cbam_resnet50",
        "plain18",
    ),
    *("cifar_resnet20", "cifar_plain20", "cifar_preresnet110", "cifar_preresnet164", "wrn_16_8", "notes_basic_resnet"),
]
FAMILIES = [*KINDS, *ALSO] if IN_SOAK else KINDS
# What these compute between their layers has a name in Keras' operations and none among its layers.
NO_LAYERS = {
    *("resnet34_a", "cbam_resnet18", "cbam_resnet50", "cifar_resnet20", "cifar_preresnet110"),
    *("cifar_highway20",),
}


def test_an_operation_that_is_not_a_layer_is_refused_in_the_older_container(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "a.safetensors", made(shallow(zoo.get_spec("cifar_resnet20"))))
    with pytest.raises(UserError, match=r"\.keras or \.weights\.h5"):
        convert(tmp_path / "a.safetensors", to="keras", out=tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    ("name", "suffix"),
    cases(
        FAMILIES,
        (".keras", ".h5", ".weights.h5"),
        {".h5": ("resnet18",), ".weights.h5": ("cbam_resnet18", *(("keras_resnet50v2",) if IN_SOAK else ()))},
    ),
)
def test_keras(name: str, suffix: str, files: list[Path], tmp_path: Path) -> None:
    spec = zoo.get_spec(name)
    checkpoint = made(spec if keras.application(spec) or IN_SOAK else at_most(1, spec))
    out = tmp_path / f"net{suffix}"
    if suffix == ".h5" and name in NO_LAYERS:
        with pytest.raises(UserError, match="older format"):
            written(checkpoint, "keras", out)
        return
    lines = written(checkpoint, "keras", out)
    layer = "predictions" if keras.application(spec) else "head_fc"
    assert f"temperature 0.5 folded into {layer}" in lines[-2]
    if suffix != ".weights.h5":
        model = keras_library.saving.load_model(out)
    elif function := keras.application(spec):
        model = getattr(keras_library.applications, function)(
            weights=str(out), classes=5, input_shape=(*checkpoint.preprocess.size, 3)
        )
    else:
        model = resnets.keras.from_spec(checkpoint.spec)
        model.load_weights(out)
    answers = model(inputs(checkpoint, files).permute(0, 2, 3, 1).numpy(), training=False)
    found = torch.as_tensor(keras_library.ops.convert_to_numpy(answers))
    agree(found if keras.application(spec) else found.softmax(1), checkpoint, files, bound=2e-5)


IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 301, 3), dtype=np.uint8)).resize((602, 400))


@pytest.mark.parametrize(
    "preprocess",
    [
        *(Preprocess.imagenet(side) for side in (97, 128, 224, 448)),
        *(Preprocess(size=(side, side), resize_to=side + 32) for side in (224, 384, 385)),
        Preprocess(size=(128, 192), resize_to=200),
        Preprocess(size=(384, 384), resize="stretch"),
        Preprocess(size=(64, 97), resize="stretch", interpolation="bicubic"),
        Preprocess(size=(96, 96), resize_to=110, interpolation="lanczos"),
        Preprocess.tf(96),
        Preprocess.caffe(96),
    ],
    ids=lambda preprocess: preprocess.describe().replace(" ", "_")[:60],
)
def test_image_processors_of_transformers_make_our_tensors(preprocess: Preprocess, tmp_path: Path) -> None:
    """PIL's to the bit; torchvision's, the default, to one or two of 256 levels."""
    checkpoint = Checkpoint(
        zoo.get_spec("tiny", num_classes=1), preprocess, ("a",), {"stem.conv.weight": torch.ones(1, 3, 1, 1)}
    )
    folded = fold_into_tensors.in_rgb(checkpoint).preprocess
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(huggingface.processor_config(folded)))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    assert huggingface.preprocessor(tmp_path) == folded
    assert not any("every" in line for line in huggingface.remarks(folded))
    image = IMAGE.crop((0, 0, 400, 400))  # a square, of which the crop cuts the same on all sides
    wanted = folded(image)
    for backend, levels in (("pil", 0.01), ("torchvision", 2.01)):
        processor = AutoImageProcessor.from_pretrained(tmp_path, backend=backend)
        found = processor(image, return_tensors="pt")["pixel_values"][0]
        level = torch.tensor(folded.std).view(3, 1, 1) * folded.scale
        assert ((found - wanted) * level).abs().max() < levels


@pytest.mark.parametrize(
    ("to", "preprocess", "words"),
    [
        ("huggingface", Preprocess(size=(64, 64), resize="pad"), "resize='pad'"),
        ("huggingface", Preprocess(size=(64, 64), resize="stretch", antialias=False), "without antialias"),
        ("huggingface", Preprocess(size=(64, 64), resize_to=70, interpolation="nearest"), "nearest"),
        ("timm", Preprocess(size=(64, 64), resize="pad"), "resize='pad'"),
        ("timm", Preprocess(size=(64, 96), resize_to=100), "crop of 64x96"),
        ("timm", Preprocess(size=(64, 64), resize_to=64, crop="none"), "no crop"),
    ],
)
def test_preprocessing_that_a_library_does_not_have_is_refused(
    to: str, preprocess: Preprocess, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        written(made(zoo.get_spec("resnet18"), preprocess), to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_crop_of_transformers_is_a_note(tmp_path: Path) -> None:
    lines = written(made(zoo.get_spec("resnet18"), Preprocess.imagenet(160)), "huggingface", tmp_path / "hf")
    assert any("transformers crops every image up to one pixel" in line for line in lines)


@pytest.mark.parametrize(("to", "library"), [("huggingface", "transformers"), ("timm", "timm")])
def test_the_model_card_is_read_by_the_hub(to: str, library: str, tmp_path: Path) -> None:
    written(made(zoo.get_spec("resnet18")), to, tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", library, "image-classification")
    result = data.eval_results[0]
    assert (result.metric_type, result.metric_value, result.dataset_name) == (
        "accuracy",
        0.9,
        "60 images of the test split",
    )
    for words in ("12" * 32, "ab" * 32, "60 images of the test split", "temperature 0.5 folded", "rose, red"):
        assert words in card.text
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert "Löwenzahn" in json.dumps(config, ensure_ascii=False)


def test_names_of_folders_and_files(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "a.safetensors", made(zoo.get_spec("resnet18")))
    for to, out, words in (
        ("huggingface", "net.safetensors", "Name a folder"),
        ("timm", "net.h5", "end in .pth, .pt or .safetensors"),
        ("torchvision", "net.keras", "end in .pth, .pt or .safetensors"),
        ("keras", "net.pth", ".weights.h5"),
    ):
        with pytest.raises(UserError, match=words):
            convert(tmp_path / "a.safetensors", to=to, out=tmp_path / out)
        assert not (tmp_path / out).exists()
