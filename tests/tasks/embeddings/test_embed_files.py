"""Image files become an index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import resnets
from resnets.errors import JobError, UserError
from resnets.hashing import sha256
from resnets.tasks import load_model


def test_the_vectors_are_what_the_head_receives(world: Any, tmp_path: Any) -> None:
    result = resnets.embed(world.checkpoint, world.data, out=tmp_path / "a.npz")
    index = result.index
    assert sorted(index.paths) == sorted(world.paths)
    model = load_model.load(world.checkpoint)
    with torch.inference_mode():
        inputs = torch.stack([model.preprocess.load(path) for path in index.paths])
        wanted = model.model.forward_pooled(inputs)
    np.testing.assert_allclose(index.vectors, wanted, atol=1e-5)
    assert (index.checkpoint, index.checkpoint_sha256) == (str(world.checkpoint), sha256(world.checkpoint))
    assert (index.layer, index.preprocess) == ("pooled", model.preprocess.to_dict())
    summary = result.to_dict()
    assert (summary["images"], summary["dimensions"], summary["out"]) == (18, 48, str(tmp_path / "a.npz"))


def test_vectors_of_unit_length_and_principal_components(world: Any) -> None:
    plain, both = (
        resnets.embed(world.checkpoint, world.data, **options).index for options in ({}, {"pca": 4, "l2": True})
    )
    assert both.vectors.shape == (18, 4)
    np.testing.assert_allclose(np.linalg.norm(both.vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(both.transform(plain.vectors), both.vectors, atol=1e-6)
    assert 0.3 < both.projection.explained < 1


def test_images_that_cannot_be_read_are_named_and_left_out(world: Any, tmp_path: Any, capsys: Any) -> None:
    (tmp_path / "bad.png").write_text("no image")
    result = resnets.embed(
        world.checkpoint, [tmp_path / "bad.png", world.paths[0], tmp_path / "gone.png"], out=tmp_path / "a.npz"
    )
    assert result.index.paths == (world.paths[0],)
    assert list(result.errors) == [str(tmp_path / "bad.png"), str(tmp_path / "gone.png")]
    assert f"'{tmp_path / 'bad.png'}' {result.errors[str(tmp_path / 'bad.png')]}" in capsys.readouterr().err
    with pytest.raises(JobError, match="2 of 3 images could not be read"):
        result.check_all_read()
    with pytest.raises(JobError, match="1 of 1 images could not be read"):
        resnets.embed(world.checkpoint, tmp_path / "bad.png", out=tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "stage9"}, "The model has no layer 'stage9'"),
        ({"pca": 0}, "`pca` must be 1 or more; received 0"),
        ({"pca": 19}, "have at most 18 principal components; received `pca=19`"),
        ({"out": "a.txt"}, "`out` is a file that ends in"),
        (
            {"layer": "stage1.block1", "backend": "torch"},
            "The layer 'stage1.block1' is computed by the reference in fp32",
        ),
        ({"layer": "head", "precision": "bf16"}, "received `precision=bf16`"),
        ({"batch": 0}, "`batch` must be 1 or more"),
    ],
)
def test_arguments_that_are_refused(options: dict[str, Any], message: str, world: Any) -> None:
    with pytest.raises(UserError, match=message):
        resnets.embed(world.checkpoint, world.data, **options)


def test_too_many_components_are_refused_before_all_images_are_read(world: Any, tmp_path: Any) -> None:
    (tmp_path / "bad.png").write_text("no image")
    paths = [*world.paths, *[tmp_path / "bad.png"] * 40]
    with pytest.raises(
        UserError, match="58 vectors of 48 numbers have at most 48 principal components; received `pca=49`"
    ):
        resnets.embed(world.checkpoint, paths, pca=49)


def test_weights_that_change_while_they_are_read_are_refused(
    world: Any, know: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a training that goes on: the index would have the hash of other weights than those of its vectors."""
    checkpoint, load = tmp_path / "net.safetensors", load_model.load
    know(checkpoint, world.samples)

    def load_and_change(*arguments: Any, **options: Any) -> Any:
        model = load(*arguments, **options)
        know(checkpoint, world.samples, seed=1)
        return model

    monkeypatch.setattr(load_model, "load", load_and_change)
    with pytest.raises(UserError, match=r"net\.safetensors' was changed while it was read"):
        resnets.embed(checkpoint, world.data, out=tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_a_model_embeds_images_in_memory(world: Any) -> None:
    model = load_model.load(world.checkpoint)
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    found = model.embed([image, world.paths[0]], layer="stage2")
    assert found.paths == ("[0]", world.paths[0])
    assert (found.vectors.shape, found.vectors.dtype, found.errors) == ((2, 24), np.float32, {})
    alone = model.embed(image, layer="stage2")
    np.testing.assert_allclose(alone.vectors[0], found.vectors[0], atol=1e-6)


def test_a_detector_embeds_images_of_several_sizes(world: Any) -> None:
    model = load_model.load("fasterrcnn_light_tiny.digit_scenes")
    found = model.embed(world.paths[:3])
    assert found.vectors.shape == (3, model.model.backbone.num_features)
    with torch.inference_mode():
        alone = model.model.backbone.forward_features(model.preprocess.load(world.paths[1])[None]).mean((2, 3))
    np.testing.assert_allclose(found.vectors[1], alone[0], atol=1e-5)


def test_a_network_whose_head_was_not_trained_has_the_same_vectors(world: Any, tmp_path: Any) -> None:
    new_head = tmp_path / "new_head.safetensors"
    resnets.convert(world.checkpoint, to="resnets", out=new_head, num_classes=5)
    for options in ({}, {"layer": "stage2"}, {"layer": "pool"}):
        kept, wanted = (resnets.embed(path, world.data, **options).index for path in (new_head, world.checkpoint))
        assert kept.vectors.tobytes() == wanted.vectors.tobytes()
    index = resnets.embed(new_head, world.data).index
    assert resnets.search(index, world.paths[3], top_k=1)[0].path == world.paths[3]
    assert 0 < resnets.evaluate_knn(new_head, world.data, k=1).metrics["top1"] <= 1
    refusal = r"new_head\.safetensors' has a last layer that was not trained, so it cannot predict yet"
    for layer in ("head", "head.fc"):
        with pytest.raises(UserError, match=refusal):
            resnets.embed(new_head, world.data, layer=layer)
    model = load_model.load(new_head)
    whole = load_model.load(world.checkpoint)
    for refused in (
        lambda: model.predict(world.paths[0]),
        lambda: whole.predict(world.paths[0], ensemble=[model]),
        lambda: model.outputs([model.preprocess.load(world.paths[0])]),
        lambda: resnets.evaluate(new_head, world.data),
    ):
        with pytest.raises(UserError, match=refusal):
            refused()
