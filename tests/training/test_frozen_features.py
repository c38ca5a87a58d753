"""A head that is trained on cached features becomes the same as with its backbone."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets import open_dataset
from resnets.data.loading.epoch_order import EpochStep
from resnets.data.split.split_file import read_split
from resnets.inference import choose_backend, hardware
from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.recipes.override import override
from resnets.recipes.recipe import Recipe
from resnets.tasks import load_model, trained_model
from resnets.tasks.classification import predict_samples
from resnets.tasks.classification.task import Classification, ClassificationConfig
from resnets.training import frozen_features, loop, train
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import resume_plan
from resnets.training.setup.split_dataset import split_dataset
from resnets.training.state import TrainContext, TrainState, restore_state


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 noisy images in each of two folders."""
    root, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, color in {"blue": (60, 70, 170), "red": (170, 70, 60)}.items():
        (root / name).mkdir()
        for number in range(22):
            pixels = np.clip(random.normal(color, 70, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02d}.png")
    return root


def make_context(images: Path, *settings: str) -> TrainContext:
    recipe = Recipe()
    for setting in (
        "model.name=tiny", "data.imgsz=24", "data.batch=8", "data.workers=0", "data.resize=stretch",
        "data.normalize=imagenet", "data.cache=ram", "data.val_fraction=0.25", "freeze.layers=backbone", "optim.lr=0.1",
        "stop.epochs=3", "speed.device=cpu", "speed.precision=fp32", f"data.location={images}", *settings,
    ):  # fmt: skip
        recipe = override(recipe, setting)
    dataset = split_dataset(open_dataset.read(str(images)), recipe)
    recipe = replace(recipe, task=ClassificationConfig())
    return build_context(resume_plan(recipe, Classification, dataset, None))


def trained(context: TrainContext, folder: Path, *, pooled: bool) -> tuple[list[dict], dict[str, torch.Tensor]]:
    if pooled:
        frozen_features.cache_features(context, 0, folder)
    state = loop.run(context, TrainState(), folder)
    return state.rows, context.net.state_dict()


def count_calls(net: ResNet) -> list[int]:
    calls: list[int] = []
    net.stem.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    return calls


AUGMENTED = {
    "by batches": ("augment.crop=pad", "augment.pad_pixels=2", "augment.flip=0.5"),
    "one by one": ("augment.crop=random_resized", "augment.flip=0.5", "augment.jitter=0.2"),
    "not at all": ("augment.crop=none", "augment.flip=0"),
}


def test_a_backbone_of_which_every_stage_is_frozen_is_frozen(images: Path, tmp_path: Path) -> None:
    stages = len(zoo.get_spec("tiny").num_blocks)
    for count, reads_vectors in ((stages, True), (stages - 1, False)):
        context = make_context(images, *AUGMENTED["not at all"], f"freeze.layers={count}")
        frozen_features.cache_features(context, 0, tmp_path / str(count))
        assert context.uses_cached_features == reads_vectors


@pytest.mark.parametrize("kind", AUGMENTED)
def test_cached_features_train_the_head_as_the_backbone_would(kind: str, images: Path, tmp_path: Path) -> None:
    through, plain = trained(make_context(images, *AUGMENTED[kind]), tmp_path / "a", pooled=False)
    context = make_context(images, *AUGMENTED[kind])
    calls = count_calls(context.net)
    kept, pooled = trained(context, tmp_path / "b", pooled=True)
    versions = 1 if kind == "not at all" else 3
    assert sum(calls) == 33 * versions + 11
    for one, other in zip(through, kept, strict=True):
        for name in ("train/loss", "val/loss", "train/accuracy_top1", "val/accuracy_top1", "lr"):
            assert one[name] == pytest.approx(other[name], rel=1e-4), name
    assert through[0]["train/loss"] != pytest.approx(through[-1]["train/loss"], rel=1e-3)
    assert pooled.keys() == plain.keys()
    for name, tensor in pooled.items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-3, atol=1e-5)


def test_the_features_are_fp32_and_the_same_bytes_in_two_runs(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the training is in bf16 and the job is a long one."""
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(choose_backend, "LONG_PIXELS", 1)
    for name in ("first", "second"):
        context = make_context(images, *AUGMENTED["by batches"], "speed.precision=bf16")
        frozen_features.cache_features(context, 0, tmp_path / name)
    first, second = ((tmp_path / name / "state" / frozen_features.FILE).read_bytes() for name in ("first", "second"))
    assert first == second
    assert isinstance(context.val, frozen_features.CachedValFeatures)
    with torch.no_grad():
        wanted = torch.cat(
            [context.net.eval().forward_pooled(images) for _, images, _ in context.val.images.iter_uncached()]
        )
    torch.testing.assert_close(context.val.features, wanted, rtol=1e-4, atol=1e-5)


def test_versions_are_repeated_when_there_are_more_epochs(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_features, "MAX_VERSIONS", 2)
    context = make_context(images, *AUGMENTED["by batches"])
    frozen_features.cache_features(context, 0, tmp_path)
    seen: dict[int, dict[int, torch.Tensor]] = {}
    for batch in context.train_data.batches(EpochStep()):
        if batch.epoch == 3:
            break
        seen.setdefault(batch.epoch, {}).update(zip(batch.indices.tolist(), batch.images, strict=True))
    both = seen[0].keys() & seen[2].keys()
    assert len(both) > 20
    assert all(torch.equal(seen[0][number], seen[2][number]) for number in both)
    assert not all(torch.equal(seen[0][number], seen[1][number]) for number in seen[0].keys() & seen[1].keys())


@pytest.mark.parametrize("kind", ["by batches", "one by one"])
def test_oversampled_images_are_augmented_anew(
    kind: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_features, "MAX_VERSIONS", 2)
    context = make_context(images, *AUGMENTED[kind], "data.balance=sampler")
    frozen_features.cache_features(context, 0, tmp_path)
    epochs: dict[int, list[tuple[int, bytes]]] = {}
    for batch in context.train_data.batches(EpochStep()):
        if batch.epoch == 3:
            break
        seen = epochs.setdefault(batch.epoch, [])
        seen += zip(batch.indices.tolist(), (each.numpy().tobytes() for each in batch.images), strict=True)
    for seen in epochs.values():
        assert len({number for number, _ in seen}) < len(seen)
        assert len({vector for _, vector in seen}) > 0.9 * len(seen)
    owner = {vector: number for number, vector in epochs[0]}
    assert all(owner.get(vector, number) == number for number, vector in epochs[2])
    assert [number for number, _ in epochs[0]] != [number for number, _ in epochs[2]]


def test_with_oversampling_the_head_is_trained_as_through_the_backbone(images: Path, tmp_path: Path) -> None:
    settings = (*AUGMENTED["one by one"], "data.balance=sampler")
    through, _ = trained(make_context(images, *settings), tmp_path / "a", pooled=False)
    kept, _ = trained(make_context(images, *settings), tmp_path / "b", pooled=True)
    for one, other in zip(through, kept, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-4)


def test_a_backbone_that_is_unfrozen_later_gets_images_again(images: Path, tmp_path: Path) -> None:
    settings = (*AUGMENTED["by batches"], "freeze.layers=none", "freeze.head_epochs=2", "ema.decay=0.9")
    through, plain = trained(make_context(images, *settings), tmp_path / "a", pooled=False)
    context = make_context(images, *settings)
    calls = count_calls(context.net)
    kept, pooled = trained(context, tmp_path / "b", pooled=True)
    assert sum(calls) == 33 * 2 + 11 + 32  # two versions, the validation, and one epoch of the whole network
    for one, other in zip(through, kept, strict=True):
        assert one["val/loss"] == pytest.approx(other["val/loss"], rel=1e-3)
    assert not torch.equal(
        pooled["stem.conv.weight"], make_context(images, *settings).net.state_dict()["stem.conv.weight"]
    )
    torch.testing.assert_close(pooled["stem.conv.weight"], plain["stem.conv.weight"], rtol=1e-2, atol=1e-4)


def test_a_resumed_run_uses_the_saved_features(images: Path, tmp_path: Path) -> None:
    first = make_context(images, *AUGMENTED["one by one"])
    frozen_features.cache_features(first, 0, tmp_path)
    context = make_context(images, *AUGMENTED["one by one"])
    calls = count_calls(context.net)
    frozen_features.cache_features(context, 1, tmp_path)
    assert calls == []
    one, other = next(first.train_data.batches(EpochStep(1, 2))), next(context.train_data.batches(EpochStep(1, 2)))
    assert torch.equal(one.images, other.images)
    assert (other.epoch, other.step) == (1, 2)


def test_the_number_of_versions_is_that_of_the_start_whatever_memory_is_free(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AUGMENTED["one by one"]
    first = make_context(images, *settings)
    frozen_features.cache_features(first, 0, tmp_path)
    monkeypatch.setattr(
        frozen_features.ram_cache, "free_memory", lambda: 4 * 2 * 44 * first.net.head.in_features * 4
    )  # for two versions
    again, anew = make_context(images, *settings), make_context(images, *settings)
    calls = count_calls(again.net)
    frozen_features.cache_features(again, 1, tmp_path)
    assert calls == []
    assert len(again.train_data.features) == 3  # type: ignore[attr-defined]
    vectors, backend = frozen_features.validation_features(anew, 3, tmp_path) or (None, None)
    assert torch.equal(vectors, first.val.features)  # type: ignore[arg-type, union-attr]
    assert backend == "reference"
    frozen_features.cache_features(anew, 0, tmp_path / "other")
    assert len(anew.train_data.features) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("change", ["damaged", "cut", "other recipe"])
def test_features_with_another_key_are_not_used(change: str, images: Path, tmp_path: Path) -> None:
    frozen_features.cache_features(make_context(images, *AUGMENTED["not at all"]), 0, tmp_path)
    path = tmp_path / "state" / frozen_features.FILE
    content = path.read_bytes()
    if change == "damaged":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif change == "cut":
        path.write_bytes(content[:-5])
    context = make_context(images, *AUGMENTED["not at all"], *(["seed=1"] if change == "other recipe" else []))
    calls = count_calls(context.net)
    frozen_features.cache_features(context, 0, tmp_path)
    assert sum(calls) == 44
    assert (path.read_bytes() == content) == (change != "other recipe")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("augment.mixup_alpha=0.2",), "mixed in each batch"),
        (("model.drop_path_rate=0.2",), "stochastic"),
        (("model.drop_path_rate=0.2", "model.drop_path_by=batch"), "stochastic"),
        (("freeze.layers=1",), None),
        (("freeze.layers=none",), None),
    ],
)
def test_random_features_are_not_cached(
    settings: tuple[str, ...], reason: str | None, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = make_context(images, *settings)
    train_data = context.train_data
    capsys.readouterr()
    frozen_features.cache_features(context, 0, tmp_path)
    stderr = capsys.readouterr().err
    assert context.train_data is train_data
    assert type(context.net) is ResNet
    assert (reason in stderr) if reason else stderr == ""


def test_features_that_do_not_fit_into_memory(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = make_context(images)
    monkeypatch.setattr(frozen_features.ram_cache, "free_memory", lambda: 1000)
    frozen_features.cache_features(context, 0, tmp_path)
    assert "do not fit" in capsys.readouterr().err
    assert type(context.net) is ResNet


def test_a_run_that_was_killed_ends_in_the_same_bytes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AUGMENTED["one by one"]
    rows, whole = trained(make_context(images, *settings), tmp_path / "whole", pooled=True)
    context = make_context(images, *settings)
    frozen_features.cache_features(context, 0, tmp_path / "cut")
    to_device, left = frozen_features.CachedTrainFeatures.to_device, iter(range(6))  # four steps an epoch
    monkeypatch.setattr(frozen_features.CachedTrainFeatures, "to_device", lambda *a: (next(left), to_device(*a))[1])
    with pytest.raises(StopIteration):
        loop.run(context, TrainState(), tmp_path / "cut")
    monkeypatch.undo()
    context = make_context(images, *settings)
    state = restore_state(context, tmp_path / "cut")
    assert state.epoch == 1
    frozen_features.cache_features(context, state.epoch, tmp_path / "cut")
    assert [row["val/loss"] for row in loop.run(context, state, tmp_path / "cut").rows] == [
        row["val/loss"] for row in rows
    ]
    assert all(torch.equal(tensor, whole[name]) for name, tensor in context.net.state_dict().items())


def test_train_caches_features_by_itself(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = train.train(str(images), model="tiny", imgsz=24, epochs=2, freeze="backbone", out=str(tmp_path / "run"))
    stderr = capsys.readouterr().err
    assert "the frozen backbone was run once, on 2 versions of each training image" in stderr
    assert (done.run / "state" / frozen_features.FILE).exists()
    assert (done.run / "report.html").exists()


def test_the_best_weights_are_evaluated_on_the_cached_features(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same figures as through the backbone, which is not run again, also where only the judging of a run is made anew."""
    asked: list[int] = []
    measure = trained_model.TrainedModel.measure
    monkeypatch.setattr(
        trained_model.TrainedModel, "measure", lambda *args, **kwargs: asked.append(1) or measure(*args, **kwargs)
    )
    given = {"model": "tiny", "imgsz": 24, "epochs": 2, "out": str(tmp_path), "precision": "fp32"}
    run = train.train(str(images), freeze="backbone", name="kept", **given).run
    best = run / "weights" / "best.safetensors"
    divided = read_split(run / "split.csv", open_dataset.read(str(images)))
    wanted = predict_samples.predict_samples([load_model.load(best)], divided.subset("val"))
    with (run / "predictions.csv").open() as file:
        rows = {row["path"]: float(row["probability"]) for row in csv.DictReader(file)}
    assert rows == pytest.approx(dict(zip(wanted.paths, wanted.confidence, strict=True)), abs=1e-5)
    content = best.read_bytes()
    train.train(resume=run)
    assert best.read_bytes() == content
    assert asked == []
    train.train(str(images), name="whole", **given)
    assert asked == [1]


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_are_augmented_one_by_one_are_cached_as_features(
    workers: int, images: Path, tmp_path: Path
) -> None:
    """The images of each version come from a plan that ends, through processes or not."""
    settings = "augment.crop=random_resized", "augment.flip=0.5", f"data.workers={workers}"
    context = make_context(images, *settings)
    assert context.train_data.stacked_images is None
    frozen_features.cache_features(context, 0, tmp_path)
    assert context.uses_cached_features


def test_the_linear_probe_runs_the_backbone_once(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[int] = []
    forward = ResNet.forward_pooled

    def counted(net: ResNet, x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return forward(net, x)

    monkeypatch.setattr(ResNet, "forward_pooled", counted)
    result = train.train(
        images, recipe="linear_probe", weights="cifar_resnet20.cifar10", epochs=4, device="cpu", name="probe"
    )
    assert sum(calls) == 44  # each image once
    best = load_model.load(result.run).model
    start = load_model.load("cifar_resnet20.cifar10").model
    for name, tensor in start.state_dict().items():
        assert torch.equal(best.state_dict()[name], tensor) != name.startswith("head."), name
    rows = list(csv.DictReader((result.run / "predictions.csv").open()))
    assert len(rows) > 4
    assert (result.run / "report.html").is_file()
