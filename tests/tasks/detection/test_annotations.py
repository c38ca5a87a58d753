"""Annotated objects as targets of the network, and as what an evaluation compares with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from resnets.data.object_datasets import object_masks
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.errors import UserError
from resnets.tasks.detection.annotations import ObjectTargets, truth

MASK = np.zeros((20, 30), bool)
MASK[2:8, 3:9] = True
OBJECTS = (
    Object("cat", (3.0, 2.0, 9.0, 8.0), object_masks.encode(MASK)),
    Object("dog", (-4.0, 5.0, 40.0, 18.0), object_masks.encode(~MASK), area=123.0),
    Object("cat", (0.0, 0.0, 30.0, 20.0), object_masks.encode(MASK), crowd=True),
    Object("dog", (31.0, 1.0, 40.0, 5.0), object_masks.encode(MASK)),  # outside of the image
)
SAMPLES = [make_sample("a.png", ImageObjects(OBJECTS, (20, 30))), make_sample("b.png", ImageObjects((), (16, 16)))]


def test_targets_are_learned_objects_within_the_image() -> None:
    targets = ObjectTargets(SAMPLES, ("cat", "dog"), masks=True)
    first, second = targets
    assert first["boxes"].tolist() == [[3, 2, 9, 8], [0, 5, 30, 18]]
    assert (first["boxes"].canvas_size, first["labels"].tolist()) == ((20, 30), [0, 1])
    assert torch.equal(first["masks"][0], torch.from_numpy(MASK))
    assert second["boxes"].shape == (0, 4)
    assert second["masks"].shape == (0, 16, 16)
    assert [len(each["labels"]) for each in targets[1:]] == [0]
    assert "masks" not in ObjectTargets(SAMPLES, ("cat", "dog"), masks=False)[0]


def test_masks_are_never_fewer_than_boxes() -> None:
    without = make_sample("a.png", ImageObjects((replace(OBJECTS[0], mask=None), *OBJECTS[1:]), (20, 30)))
    with pytest.raises(UserError, match=r"'a.png' has 1 object without a mask"):
        ObjectTargets([without], ("cat", "dog"), masks=True)[0]
    found = truth(without, {"cat": 0, "dog": 1}, masks=True)
    assert found.masks is None
    assert len(found.boxes) == 3


def test_the_mask_of_a_crowd_without_one_is_its_box() -> None:
    crowd = Object("cat", (2.0, 3.0, 12.0, 9.0), crowd=True)
    found = truth(make_sample("a.png", ImageObjects((crowd, OBJECTS[0]), (20, 30))), {"cat": 0}, masks=True)
    assert found.masks is not None
    assert object_masks.RunLengths(20, 30, found.masks[0]["counts"]).box() == crowd.box
    assert found.area.tolist() == [60.0, 36.0]


def test_a_class_that_the_model_does_not_have_is_named() -> None:
    with pytest.raises(UserError, match="'dog'"):
        ObjectTargets(SAMPLES, ("cat",), masks=False)


def test_an_evaluation_sees_crowds_and_annotated_areas() -> None:
    found = truth(SAMPLES[0], {"cat": 0, "dog": 1}, masks=True)
    assert found.crowd.tolist() == [False, False, True]
    assert found.area.tolist() == [36.0, 123.0, 36.0]  # that of the mask, unless one is annotated
    assert found.boxes[1].tolist() == [-4, 5, 40, 18]
    assert found.masks is not None
    assert len(found.masks) == 3
    plain = truth(SAMPLES[0], {"cat": 0, "dog": 1}, masks=False)
    assert plain.area.tolist() == [36.0, 123.0, 600.0]
    assert truth(SAMPLES[1], {}, masks=True).masks == []
