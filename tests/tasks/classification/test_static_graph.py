"""How close the logits of a backend are to those of the reference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.models import zoo
from resnets.tasks.classification.static_graph import TOLERANCE, agreement, classifier_graph


def test_the_parts_are_those_of_the_network() -> None:
    net = zoo.build("tiny", num_classes=3).eval()
    images = torch.randn(2, 3, 32, 32)
    graph = classifier_graph(net)
    assert torch.equal(graph.finish(graph.static(images)), net(images))
    net.head = nn.Linear(net.head.in_features, 5)  # type: ignore[assignment]
    assert torch.equal(graph.finish(graph.static(images)), net(images))


def test_bf16_may_move_no_probability_by_more_than_a_hundredth() -> None:
    assert TOLERANCE["bf16"] == 0.01


def test_agreement_counts_labels_and_measures_distances() -> None:
    found = agreement(
        torch.tensor([[2.0, 0], [0, 1], [5, 0], [0, 3]]), torch.tensor([[2.0, 0], [1, 0], [5, 0], [0, 3]])
    )
    assert (found.images, found.details["same"], found.details["logit"]) == (4, 0.75, 1.0)
    assert (
        found.difference == found.details["probability"] == pytest.approx(0.4621, abs=1e-4)
    )  # sigmoid(1) - sigmoid(-1)
    assert str(found) == "on 4 images 75.00% equal labels, probabilities within 0.4621"


def test_a_low_temperature_makes_the_distance_of_probabilities_larger() -> None:
    logits, wanted = torch.tensor([[0.1, 0.0]]), torch.tensor([[0.0, 0.0]])
    plain, sharp = (classifier_graph(zoo.build("tiny"), each).compare(logits, wanted).difference for each in (1.0, 0.1))
    assert plain < 0.03 < 0.2 < sharp
