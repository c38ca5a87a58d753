"""Segmentation as a task: data, losses of a batch, and figures that depend on neither batches nor ranks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision import tv_tensors

from resnets.data.datasets.dataset import Dataset
from resnets.data.image.placement import Placement
from resnets.data.loading.batch import Batch
from resnets.models import zoo
from resnets.recipes import registry as recipes
from resnets.tasks.measurements import concatenate
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.metrics import records
from resnets.tasks.segmentation.task import Segmentation
from resnets.tasks.segmentation.training import losses
from resnets.tasks.trained_model import TrainedModel
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.setup.prepare_run import prepare_run

SIZES = [(48, 64), (64, 64), (31, 47), (64, 64), (97, 131)]
Read = Callable[[Sequence[tuple[int, int]]], Dataset]


def test_the_classes_are_those_of_the_data_in_their_order(read_data: Read, task: Segmentation) -> None:
    dataset = read_data(SIZES)
    assert dataset.class_names == ("road", "car", "sky")
    mask = task.targets(dataset.samples)[0]
    assert isinstance(mask, tv_tensors.Mask)
    assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, (48, 64))
    assert set(mask.unique().tolist()) == {0, 1, 2, 255}
    values = np.asarray(Image.open(str(dataset.samples[0].path).replace("images", "masks")))
    np.testing.assert_array_equal(np.array([7, 26, 23])[mask[3:].numpy()], values[3:])


def test_what_the_input_does_not_show_is_ignored(task: Segmentation) -> None:
    placed = task.place(tv_tensors.Mask(torch.zeros(4, 4, dtype=torch.uint8)), Placement((4, 4), (8, 6), (1.0, 1.0)))
    assert placed.unique().tolist() == [0, 255]
    assert int((placed == 0).sum()) == 16


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_figures_do_not_depend_on_the_size_of_a_batch(read_data: Read, model: TrainedModel, batch: int) -> None:
    """Equal counts for each image, whether it is computed alone or with others."""
    samples = read_data(SIZES * 2).samples
    measured, _ = model.measure(samples, batch=batch, workers=0)
    alone = concatenate([model.measure([sample], batch=1, workers=0)[0] for sample in samples])
    for one, other in zip(measured["confusion"], alone["confusion"], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(measured["boundary"], alone["boundary"])
    assert model.task.summarize(model.task.keep(measured)) == model.task.summarize(model.task.keep(alone))


def test_predictions_are_what_is_evaluated_at_the_size_of_the_original(read_data: Read, model: TrainedModel) -> None:
    samples = read_data(SIZES).samples
    shared, either = np.zeros(3), np.zeros(3)
    for sample, prediction in zip(samples, model.predict([each.path for each in samples]), strict=True):
        truth = sample.target.read(model.class_names)
        assert prediction.size == truth.shape == sample.target.size
        logits = model.model(model.preprocess.load(sample.path)[None])
        np.testing.assert_array_equal(prediction.mask, logits[0].argmax(0).numpy())
        for k in range(3):
            shared[k] += ((truth == k) & (prediction.mask == k)).sum()
            either[k] += (((truth == k) | (prediction.mask == k)) & (truth != 255)).sum()
    measured, _ = model.measure(samples, workers=0)
    assert model.task.summarize(model.task.keep(measured))["miou"] == pytest.approx((shared / either).mean(), rel=1e-12)


def test_the_validation_of_a_training_is_that_of_the_evaluation(read_data: Read, model: TrainedModel) -> None:
    """With the losses of the logits at the size of the input, and the same counts."""
    samples, task = read_data(SIZES).samples, model.task
    images = [model.preprocess.load(sample.path) for sample in samples]
    targets = task.targets(samples)
    placements = [Placement(sample.target.size, sample.target.size, (1.0, 1.0)) for sample in samples]
    with torch.no_grad():
        outputs = task.forward(model.model, images, task.collate(list(targets)))
        expected = [
            losses.losses(model.model(image[None]), mask.as_subclass(torch.Tensor)[None], ["ce", "dice"])
            for image, mask in zip(images, targets, strict=True)
        ]
    found = task.measure(outputs, samples, targets, placements)
    metrics = task.validation_metrics(found)
    for name in ("ce", "dice"):
        torch.testing.assert_close(found[f"loss_{name}"], torch.cat([each[name] for each in expected]))
    assert metrics["loss"] == pytest.approx(metrics["loss_ce"] + metrics["loss_dice"])
    evaluated, _ = model.measure(samples, workers=0)
    assert metrics["miou"] == task.summarize(task.keep(evaluated))["miou"]
    counts = records.of(evaluated).counts.sum(axis=0)
    assert metrics["classes_missed"] == ((counts[1] > 0) & (counts[2] == 0)).sum()


def batch_of(count: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(3, (count, 32, 32), generator=generator, dtype=torch.uint8)
    masks[:, :5] = 255
    numbers = torch.arange(count)
    images = torch.randn(count, 3, 32, 32, generator=generator)
    return Batch(0, 0, numbers, numbers, images, masks, torch.ones(count), [0] * count)


def test_the_loss_of_a_batch_is_the_mean_of_its_images(task: Segmentation) -> None:
    torch.manual_seed(0)
    model, batch = task.build(zoo.get_spec("tiny")).eval(), batch_of(4)
    with torch.no_grad():
        whole = task.loss(model, batch)
        parts = [task.loss(model, part) for part in batch.chunk(4)]
    assert float(whole.total) == pytest.approx(float(np.mean([float(part.total) for part in parts])), rel=1e-5)
    assert set(whole.sums) == {"loss_ce", "loss_dice"}
    assert float(whole.total) == pytest.approx(sum(map(float, whole.sums.values())) / 4, rel=1e-5)
    weighted = batch._replace(weights=torch.tensor([2.0, 0, 1, 1]))
    with torch.no_grad():
        found = float(task.loss(model, weighted).total)
    assert found == pytest.approx((2 * parts[0].total + parts[2].total + parts[3].total).item() / 4, rel=1e-5)


def test_the_second_head_counts_two_fifths() -> None:
    torch.manual_seed(0)
    settings = SegmentationConfig(aux=True, decoder_channels=16, loss="ce")
    task = Segmentation(("a", "b", "c"), settings)
    model, batch = task.build(zoo.get_spec("tiny")).train(), batch_of(4)
    for module in model.modules():  # so that both calls see the same
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    found = task.loss(model, batch)
    logits, second = model(batch.images)
    ce = [
        functional.cross_entropy(each, batch.targets.long(), ignore_index=255).item() for each in (logits, second)
    ]  # each image has as many labeled pixels
    assert found.total.item() == pytest.approx(ce[0] + 0.4 * ce[1], rel=1e-4)
    assert set(found.sums) == {"loss_ce", "loss_aux"}
    found.total.backward()
    assert model.aux_head is not None
    assert all(parameter.grad is not None for parameter in model.aux_head.parameters())


def test_weights_of_classes_enter_the_loss(task: Segmentation) -> None:
    torch.manual_seed(0)
    model, batch = task.build(zoo.get_spec("tiny")).eval(), batch_of(2)
    values = (1.0, 5.0, 0.5)
    weighted = Segmentation(task.class_names, SegmentationConfig(loss="ce", class_weight_values=values))
    with torch.no_grad():
        found = float(weighted.loss(model, batch).total)
        logits, masks = model(batch.images), batch.targets.long()
    total = functional.cross_entropy(logits, masks, torch.tensor(values), ignore_index=255, reduction="sum")
    assert found == pytest.approx(float(total / (masks != 255).sum()), rel=1e-5)


def test_a_batch_of_one_image_is_trained_by_decoders_with_pooling() -> None:
    """A last batch of one image does not end the run."""
    for architecture in ("deeplabv3", "pspnet"):
        settings = SegmentationConfig(architecture=architecture, decoder_channels=16, loss="ce")
        task = Segmentation(("a", "b", "c"), settings)
        model = task.build(zoo.get_spec("tiny")).train()
        for count in (2, 1):
            loss = task.loss(model, batch_of(count)).total
            loss.backward()
            assert torch.isfinite(loss)


def test_recipes_have_values_for_the_task(write_data: Callable[..., Path]) -> None:
    data = str(write_data(SIZES))
    scratch = build_recipe(data, "light_tiny", None, None, {}, [])
    assert scratch.task is Segmentation
    recipe = scratch.builder.recipe
    assert (recipe.schedule.name, recipe.optim.name, recipe.task.name) == ("poly", "adamw", "segmentation")
    assert recipes.find("scratch", "tiny").schedule.name == "cosine"
    without_model = build_recipe(data, None, None, None, {}, []).builder
    assert "RESNETS_OFFLINE is set" in without_model.origins["model.weights"]
    assert "cifar_resnet20" not in without_model.origins["model.weights"]  # a classifier of 32 pixels
    tuned = Segmentation.recipe_values["finetune"]
    assert tuned["freeze.backbone_lr_factor"] == 0.1


@pytest.mark.parametrize(("given", "shown"), [("tiny", "light_tiny"), ("unet_tiny", "unet_tiny")])
def test_the_plan_begins_with_the_whole_name_of_the_model(
    given: str, shown: str, write_data: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_data([(64, 64)] * 10))
    prepare_run(*build_recipe(data, given, "none", None, {"workers": 0}, [], task="segmentation"))
    assert f"{shown} on {data}, recipe scratch" in capsys.readouterr().err.splitlines()[1]


def test_a_training_image_is_drawn_with_its_classes(task: Segmentation) -> None:
    mask = torch.zeros(20, 30, dtype=torch.uint8)
    mask[:, 15:], mask[:5] = 1, 255
    image = np.full((20, 30, 3), 200, np.uint8)
    drawn, caption = task.draw_target(image, mask)
    assert caption == "road 50 %, car 50 %"
    assert (drawn[:5] == 200).all()
    assert len(np.unique(drawn[5:].reshape(-1, 3), axis=0)) == 2
