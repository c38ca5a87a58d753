"""The user's images, else those of the run, else photographs; always some that are colored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import exported_files, tiny_checkpoint

from resnets.data.image.open_image_file import tar_address
from resnets.errors import UserError
from resnets.export.certificate import proof_images
from resnets.hashing import sha256
from resnets.weights import checkpoint as checkpoints


def save_images(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for path, image in zip(paths, tiny_checkpoint.colored_images(count), strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_those_that_are_named_come_first(tmp_path: Path) -> None:
    file = exported_files.checkpoint_file()
    save_images(tmp_path / "few", 3)
    found = proof_images.choose([str(tmp_path / "few")], file, checkpoints.read(file))
    assert (found.real, len(found.images), found.yours) == (3, 20, True)
    assert "3 of 3 images that you named" in found.in_words()
    many = [str(path) for path in save_images(tmp_path / "many", 19)]
    chosen = proof_images.choose([str(tmp_path / "many")], file, checkpoints.read(file)).images
    assert len(set(map(str, chosen[:16]))) == 16
    assert (chosen[0], chosen[15]) == (many[0], many[-1])
    listed = found.to_dict()["images"]
    assert [each["name"] for each in listed] == ["00.png", "01.png", "02.png", *["generated"] * 17]
    assert [each["sha256"] for each in listed[:3]] == [sha256(tmp_path / "few" / each["name"]) for each in listed[:3]]
    with pytest.raises(UserError, match="There are no images"):
        proof_images.choose([str(tmp_path)[:-1] + "*nothing*"], file, checkpoints.read(file))


def test_else_the_val_images_of_the_run_that_have_not_changed(tmp_path: Path) -> None:
    paths = save_images(tmp_path / "data", 6)
    rows = [f"{path.name},{sha256(path)},a,{'val' if number % 2 else 'train'}," for number, path in enumerate(paths)]
    run = tmp_path / "run"
    (run / "weights").mkdir(parents=True)
    (run / "recipe.toml").write_text("[data]\nlocation = 'elsewhere'\n")
    (run / "split.csv").write_text("\n".join(["path,sha256,label,split,group", *rows]) + "\n")
    (run / "environment.json").write_text(json.dumps({"data": str(tmp_path / "data")}))
    checkpoint = replace(checkpoints.read(exported_files.checkpoint_file()), provenance={})
    file = run / "weights" / "best.safetensors"
    found = proof_images.choose((), file, checkpoint)
    assert found.images[:3] == tuple(map(str, paths[1::2]))
    assert (found.real, found.yours) == (3, True)
    assert "3 images of the val split of its run" in found.in_words()
    Image.new("RGB", (40, 40)).save(paths[1])
    assert proof_images.choose((), file, checkpoint).images[:2] == tuple(map(str, paths[3::2]))
    for path in paths:
        path.unlink()
    gone = proof_images.choose((), file, checkpoint)
    assert (gone.yours, gone.real) == (False, 16)
    assert "the val images of its run are not in" in gone.origin
    assert str(tmp_path) in gone.origin
    assert gone.to_dict()["origin"].endswith("(the val images of its run are not in 'data')")


def test_an_image_in_a_shard_is_listed_by_its_content(tmp_path: Path) -> None:
    (path,) = save_images(tmp_path / "one", 1)
    content = path.read_bytes()
    digests = []
    for number, middle in enumerate((content, content, content[:-1] + b"x")):
        tar = tmp_path / f"{number}.tar"
        tar.write_bytes(b"before" + middle + b"after")
        address = tar_address(str(tar), 6, len(content), "image.png")
        assert proof_images.with_generated([address], "", yours=True).names[0] == "image.png"
        digests.append(proof_images.with_generated([address], "", yours=True).sha256)
    alone = proof_images.with_generated([str(path)], "", yours=True).sha256
    assert digests[0] == digests[1] == alone != digests[2]
    with pytest.raises(UserError, match="does not exist"):
        proof_images.with_generated([str(tmp_path / "none.tar@6+9/image.png")], "", yours=True)


def test_else_crops_of_photographs_at_odd_sizes() -> None:
    crops = proof_images.photographs(16)
    assert all(side % 2 for crop in crops for side in crop.shape[:2])
    assert len({crop.shape for crop in crops}) > 10
    assert all(np.array_equal(*pair) for pair in zip(crops, proof_images.photographs(16), strict=True))
    names = proof_images.of_scikit_learn().names
    assert names == [*["crop of a photograph"] * 16, *["generated"] * 4]


def test_some_images_are_colored_and_all_are_listed() -> None:
    file = exported_files.checkpoint_file()
    found = proof_images.choose((), file, checkpoints.read(file))
    for image in found.images[-4:]:
        assert isinstance(image, np.ndarray)
        assert np.abs(image[..., 0].astype(int) - image[..., 2]).mean() > 30
    arrays = [np.asarray(image) for image in found.images]
    digests = [hashlib.sha256(f"{each.shape}".encode() + each.tobytes()).hexdigest() for each in arrays]
    assert found.sha256 == hashlib.sha256("\n".join(digests).encode()).hexdigest()
