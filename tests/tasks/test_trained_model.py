"""One image or many, of every kind, in; a name and a probability for each out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.data.image.preprocess import Preprocess
from resnets.errors import ImageError, JobError, UserError
from resnets.models import zoo
from resnets.tasks import trained_model
from resnets.tasks.classification.predict_samples import predict_samples
from resnets.tasks.classification.task import Classification
from resnets.tasks.load_model import load
from resnets.tasks.trained_model import TrainedModel


@pytest.fixture
def classifier(world) -> TrainedModel:
    return load(world.checkpoint)


def test_the_bytes_of_files_and_prepared_images_are_predicted_as_the_files(
    classifier: TrainedModel, world, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads may prepare images for a batch that another one computes; nothing is decoded twice."""
    expected = [answer.top for answer in classifier.predict(world.paths, batch=4)]
    contents = [Path(path).read_bytes() for path in world.paths]
    assert [answer.top for answer in classifier.predict(contents, batch=4)] == expected
    assert classifier.predict(contents[0])[0].path == "[0]"
    prepared = [classifier.prepare(content, "name") for content in contents]
    answers = classifier.predict([contents[0], *prepared[1:]], batch=4)  # a mixture
    assert [answer.top for answer in answers] == expected
    assert {answer.path for answer in answers[1:]} == {"name"}
    with monkeypatch.context() as patched:
        patched.setattr(trained_model, "ordered_map", None)  # no threads are started for what was prepared
        assert [answer.top for answer in classifier.predict(prepared, batch=4)] == expected
    assert "is text" in classifier.predict([b"hello"])[0].error
    with pytest.raises(ImageError, match="is text"):
        classifier.prepare(b"hello", "name")


def test_the_probabilities_are_the_softmax_of_the_network(classifier: TrainedModel, world) -> None:
    answers = classifier.predict(world.paths, batch=4)
    assert [answer.path for answer in answers] == world.paths
    for path, answer in zip(world.paths, answers, strict=True):
        with torch.no_grad():
            logits = classifier.model(classifier.preprocess.load(path)[None])[0]
        expected = torch.softmax(logits / 1.5, 0)
        assert answer.label == classifier.class_names[int(expected.argmax())]
        assert dict(answer.top) == pytest.approx(
            dict(zip(classifier.class_names, expected.tolist(), strict=True)), abs=1e-5
        )
        assert [probability for _, probability in answer.top] == sorted(dict(answer.top).values(), reverse=True)
        assert (answer.label, answer.probability) == answer.top[0]
    right = np.mean([answer.label == sample.label for answer, sample in zip(answers, world.samples, strict=True)])
    assert right > 0.8


@pytest.mark.parametrize("workers", [None, 0, 3])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_and_threads_change_nothing(batch: int, workers: int | None, classifier: TrainedModel, world) -> None:
    expected = classifier.predict(world.paths)
    found = classifier.predict(world.paths, batch=batch, workers=workers)
    for one, other in zip(found, expected, strict=True):
        assert (one.path, one.label) == (other.path, other.label)
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


def test_every_kind_of_image(classifier: TrainedModel, world) -> None:
    path = Path(world.paths[0])
    pixels = np.array(Image.open(path))
    expected = classifier.predict(path)[0].top
    images = [str(path), path, pixels, Image.open(path), Image.fromarray(pixels).convert("RGBA")]
    for one in images:
        assert classifier.predict(one)[0].top == expected
    for many in (images, iter(images)):
        # In a batch the sums are taken in another order.
        assert all(dict(each.top) == pytest.approx(dict(expected), rel=1e-4) for each in classifier.predict(many))
    assert [each.path for each in classifier.predict(images)] == [str(path), str(path), "[2]", "[3]", "[4]"]
    stack = np.stack([pixels, pixels[::-1]])
    assert [each.path for each in classifier.predict(stack)] == ["[0]", "[1]"]
    gray = pixels[:, :, 0]
    assert classifier.predict(gray)[0].top == classifier.predict(Image.fromarray(gray))[0].top


def test_orientation_and_transparency_of_a_pillow_image_are_those_of_a_file(
    classifier: TrainedModel, world, tmp_path: Path
) -> None:
    image = Image.open(world.paths[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    clear = image.convert("RGBA")
    clear.putalpha(100)
    clear.save(tmp_path / "clear.png")
    for name in ("turned.png", "clear.png"):
        top = classifier.predict(tmp_path / name)[0].top
        assert classifier.predict(Image.open(tmp_path / name))[0].top == top
        assert top != classifier.predict(world.paths[0])[0].top
    assert classifier.predict(image.convert("CMYK"))[0].label is not None


def test_an_unreadable_image_has_a_prediction_with_an_error(classifier: TrainedModel, world, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    whole = Path(world.paths[0]).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    bad = [tmp_path / "empty.jpg", tmp_path / "text.jpg", tmp_path / "cut.png", tmp_path, tmp_path / "missing.jpg"]
    mixed = [path for pair in itertools.zip_longest(bad, world.paths[:5]) for path in pair]
    answers = classifier.predict([*mixed, Image.new("F", (40, 40))], batch=2)
    assert [answer.path for answer in answers] == [*map(str, mixed), "[10]"]
    for answer in (*answers[:10:2], answers[10]):
        assert answer.error
        assert answer.path not in answer.error
        assert (answer.label, answer.probability, answer.top) == (None, None, ())
    assert [answer.label for answer in answers[1:10:2]] == [each.label for each in classifier.predict(world.paths[:5])]


def test_unreadable_images_leave_the_batches_full(classifier: TrainedModel, world, tmp_path: Path) -> None:
    sizes: list[int] = []
    classifier.model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    mixed = [path for path in world.paths[:16] for path in (path, tmp_path / "missing.jpg")]
    assert len(classifier.predict(mixed, batch=8)) == 32
    assert sizes == [8, 8]


def test_an_endless_stream_is_classified_image_by_image(classifier: TrainedModel, world) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for path in itertools.cycle(world.paths):
            taken += 1
            yield path

    answers = classifier.stream(endless(), batch=4)
    for _ in range(50):
        next(answers)
        assert taken < 50 + 16
    answers.close()


def test_as_many_classes_as_asked_for(classifier: TrainedModel, world) -> None:
    assert [len(classifier.predict(world.paths[0], top_k=k)[0].top) for k in (1, 2, 3, 50)] == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("image", "shows"),
    [
        (np.zeros((4, 4, 3)), r"float64 \(4, 4, 3\)"),
        (np.zeros((4, 4, 7), dtype=np.uint8), r"\(4, 4, 7\)"),
        (np.zeros((0, 4, 3), dtype=np.uint8), r"\(0, 4, 3\)"),
        ([3], "type int"),
        ([None], "type NoneType"),
    ],
)
def test_what_is_no_image(image: object, shows: str, classifier: TrainedModel) -> None:
    with pytest.raises(UserError, match=shows):
        classifier.predict(image)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"top_k": 0}, {"batch": 0}, {"workers": -1}])
def test_numbers_out_of_range(values: dict[str, int], classifier: TrainedModel, world) -> None:
    with pytest.raises(UserError, match="or more; received"):
        classifier.predict(world.paths, **values)  # type: ignore[arg-type]


def test_nothing_is_nothing(classifier: TrainedModel) -> None:
    assert classifier.predict([]) == []


def test_damaged_weights_do_not_pass_for_the_first_class(classifier: TrainedModel, world) -> None:
    with torch.no_grad():
        classifier.model.head.fc.weight[1] = float("nan")
    with pytest.raises(JobError, match=r"0\.png' is not a number"):
        classifier.predict(world.paths)


def test_images_of_any_size_where_nothing_is_resized(world) -> None:
    net = zoo.build("tiny", num_classes=2, stem="valid")  # which takes nothing below 11 pixels
    whole = Preprocess(size=(32, 32), resize="none", resize_to=None, crop="none")
    classifier = TrainedModel(Classification(("a", "b")), net, whole)
    answers = classifier.predict([*world.paths, np.zeros((2, 60, 3), dtype=np.uint8)], batch=100)
    assert all(answer.label for answer in answers[:-1])
    assert "too small for this network" in (answers[-1].error or "")
    assert dict(answers[1].top) == pytest.approx(dict(classifier.predict(world.paths[1])[0].top), rel=1e-4)


def test_double_precision_networks_are_fed_doubles(world) -> None:
    task = Classification(("a", "b"))
    classifier = TrainedModel(task, zoo.build("tiny", num_classes=2).double(), Preprocess.imagenet(32))
    assert classifier.predict(world.paths[0])[0].label in ("a", "b")
    found = predict_samples([classifier], [Sample(world.paths[0], ("a",))])
    assert found.computed == {"backend": "reference", "precision": "fp64"}
    for asked in ({"precision": "bf16"}, {"backend": "torch"}):
        (word,) = asked.items()
        with pytest.raises(UserError, match=f"in fp64, which only the reference computes; received `{'='.join(word)}`"):
            TrainedModel(task, classifier.model, Preprocess.imagenet(32), **asked)
