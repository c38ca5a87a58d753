"""Masks are compared by pixels and boxes by their nearest; objects at the threshold come and go."""

from __future__ import annotations

import math

import numpy as np
from tests import exported_files

from resnets.export.certificate import proof_images
from resnets.export.certificate.certify import prove
from resnets.export.certificate.compare_predictions import differences
from resnets.export.certificate.evidence import collect
from resnets.export.certificate.proof_runtimes import runtime_choices
from resnets.tasks import load_model
from resnets.tasks.detection.prediction import DetectedObject
from resnets.tasks.detection.prediction import Prediction as Objects
from resnets.tasks.segmentation.prediction import Prediction as Mask


def objects(*of: tuple[str, float, float]) -> Objects:
    """Objects with a label, a score, and the left side of their box."""
    return Objects("", tuple(DetectedObject(label, score, (left, 0, 40, 40)) for label, score, left in of))


def box_difference(found: Objects, expected: Objects) -> float:
    (only,) = differences([found], [expected], 0.5)
    assert only.within_limit == (only.value <= 0.1)
    return only.value


def test_boxes_are_compared_with_the_nearest_of_their_label() -> None:
    two = objects(("cat", 0.9, 3), ("cat", 0.8, 20))
    assert box_difference(two, two) == 0
    assert box_difference(objects(("cat", 0.8, 20.25), ("cat", 0.9, 3)), two) == 0.25
    assert box_difference(objects(("cat", 0.9, 3), ("dog", 0.8, 20)), two) == math.inf
    assert box_difference(objects(), two) == math.inf
    assert box_difference(two, objects()) == math.inf
    assert box_difference(objects(), objects(("cat", 0.5005, 3))) == 0


def test_masks_are_compared_by_pixels() -> None:
    mask = np.zeros((50, 40), np.uint8)
    other = mask.copy()
    other[0, :2] = 1
    (only,) = differences([Mask("", (), other)], [Mask("", (), mask)], 0)
    assert only.value == 1e-3
    assert only.within_limit
    other[0, 2] = 1
    assert not differences([Mask("", (), other)], [Mask("", (), mask)], 0)[0].within_limit
    assert differences(["a class"], ["a class"], 0) == ()


def test_the_masks_of_a_segmenter_are_compared() -> None:
    trained = load_model.load(exported_files.segmenter_file(), "cpu", precision="fp32")
    traced = exported_files.traced(exported_files.segmenter_file())
    evidence = collect(trained, traced.graph.output_names, proof_images.of_scikit_learn(), "normalize")
    content = exported_files.exported_segmenter().read_bytes()
    first, *_ = runtime_choices("onnx", {"": content}, traced.metadata("onnx"))
    proof = prove(first, evidence)
    assert proof.failing == ""
    assert [each.output for each in proof.differences] == ["logits", "pixels of another class"]
    assert evidence.predictions is not None
    evidence.predictions[2] = Mask("", (), 1 - evidence.predictions[2].mask)
    assert "pixels of another class 1 (limit 0.001) in the prediction of image 3" in prove(first, evidence).failing
