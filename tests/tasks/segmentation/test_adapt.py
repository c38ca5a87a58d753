"""Weights of another model in a segmenter."""

from dataclasses import replace

import pytest
import torch

from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.task import Segmentation
from resnets.weights.checkpoint import Checkpoint

SPEC = zoo.get_spec("tiny")


def segmenter(names: tuple[str, ...], seed: int, **settings: object) -> tuple[Segmentation, torch.nn.Module]:
    task = Segmentation(names, SegmentationConfig(decoder_channels=16, aux=True, **settings))  # type: ignore[arg-type]
    torch.manual_seed(seed)
    return task, task.build(SPEC)


def checkpoint(task: Segmentation, model: torch.nn.Module) -> Checkpoint:
    config = {key: value for key, value in vars(task.config).items() if key != "name"}
    return Checkpoint(SPEC, Preprocess(), task.class_names, model.state_dict(), task=task.name, config=config)


def test_rows_of_both_heads_are_found_by_the_names_of_the_classes() -> None:
    old_task, old = segmenter(("road", "car", "sky"), 0)
    task, model = segmenter(("sky", "tree", "road"), 1)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    described = task.adapt(model, checkpoint(old_task, old), old)
    assert "keeps what it has for 2 of 3 classes: 'sky', 'road'; new: 'tree'" in described
    for head in ("head", "aux_head.fc"):
        own, source = model.get_submodule(head).weight, old.get_submodule(head).weight
        assert torch.equal(own[0], source[2])
        assert torch.equal(own[2], source[0])
        assert torch.equal(own[1], fresh[f"{head}.weight"][1])
    for name, tensor in model.state_dict().items():
        if not name.startswith(("head", "aux_head.fc")):
            assert torch.equal(tensor, old.state_dict()[name]), name


def test_the_same_classes_in_another_order_give_the_same_outputs() -> None:
    """A run that begins with these weights begins where they ended."""
    old_task, old = segmenter(("road", "car", "sky"), 0)
    task, model = segmenter(("sky", "car", "road"), 1)
    task.adapt(model, checkpoint(old_task, old), old)
    images = torch.randn(2, 3, 40, 56)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), old.eval()(images)[:, [2, 1, 0]])


def test_a_classifier_becomes_the_backbone() -> None:
    torch.manual_seed(0)
    spec = replace(SPEC, num_classes=2)
    classifier = build(spec)
    task, model = segmenter(("road", "car"), 1)
    parent = Checkpoint(spec, Preprocess(), ("a", "b"), classifier.state_dict(), task="classification")
    assert "new decoder and head for 2 classes" in task.adapt(model, parent, classifier)
    assert torch.equal(model.backbone.stage2.block1.branch.conv1.weight, classifier.stage2.block1.branch.conv1.weight)


def test_layers_of_another_shape_are_new() -> None:
    old_task, old = segmenter(("road", "car"), 0)
    task = Segmentation(("road", "car"), SegmentationConfig(decoder_channels=8))
    model = task.build(SPEC)
    described = task.adapt(model, checkpoint(old_task, old), old)
    assert "new layers: decoder." in described


@pytest.mark.parametrize("prefix", ["unet_", "deeplabv3_"])
def test_settings_of_the_weights_are_kept(prefix: str) -> None:
    from resnets.models.segmentation import zoo as segmenters
    from resnets.tasks.segmentation.config import model_settings

    settings = vars(segmenters.get(f"{prefix}tiny")[0])
    parent = Checkpoint(SPEC, Preprocess(), ("a",), {}, task="segmentation", config=settings)
    chosen = model_settings("tiny", parent)
    assert chosen["task.architecture"].value == prefix.rstrip("_")
    assert "model.name" not in chosen
