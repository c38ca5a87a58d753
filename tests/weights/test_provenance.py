"""What is reported about the images that weights were trained on."""

from __future__ import annotations

from resnets.weights.provenance import UNKNOWN, training_data


def test_each_training_is_described_by_what_is_known() -> None:
    assert training_data({}) == [UNKNOWN]
    assert training_data({"train_images": 5000}) == ["5,000 training images"]
    assert training_data({"train_images": "many"}) == [UNKNOWN]
    assert training_data({"recipe": "scratch", "split_sha256": "ab"}) == ["SHA-256 of the split: ab"]
    assert training_data({"train_images": 5, "split_sha256": "ab", "converted_from": "net.pth"}) == [
        "5 training images; SHA-256 of the split: ab"
    ]
    told = training_data({"split_sha256": "ab", "parent": {"published": "resnet18.a1_in1k"}})
    assert told == training_data({"split_sha256": "ab", "published": "resnet18.a1_in1k"})
    assert told[1] == "the published weights resnet18.a1_in1k: see their publisher"
    assert training_data({"converted_from": "net.pth"}) == [
        "a file of another library, net.pth, which does not state them"
    ]
