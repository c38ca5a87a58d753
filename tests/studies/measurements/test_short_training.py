"""A short training against a loop with the formula of SGD."""

from __future__ import annotations

import copy

import torch
from tests.studies import known_images
from torch.nn.functional import cross_entropy

from resnets.studies.measurements import short_training


def test_the_training_is_that_of_a_plain_loop() -> None:
    (network,), images = known_images.load(known_images.checkpoint_file(blocks=1))
    inputs, labels = images.stacked(known_images.PREPROCESS), images.labels
    net, expected = copy.deepcopy(network.net), copy.deepcopy(network.net).train()
    seen = []
    for step in short_training.train(net, inputs, labels, steps=4, batch=40, lr=0.1, seed=3, stop_at=(2, 4)):
        seen.append(step)
        net.eval()  # as what measures does
    assert seen == [2, 4]
    assert not net.training
    momenta: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(3)
    order, second = (torch.randperm(120, generator=generator) for _ in range(2))
    for chosen in (order[:40], order[40:80], order[80:], second[:40]):
        gradients = torch.autograd.grad(
            cross_entropy(expected(inputs[chosen]), labels[chosen]), list(expected.parameters())
        )
        with torch.no_grad():
            for (name, weight), gradient in zip(expected.named_parameters(), gradients, strict=True):
                momenta[name] = 0.9 * momenta.get(name, torch.zeros(())) + gradient + 1e-4 * weight
                weight -= 0.1 * momenta[name]
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-3, atol=1e-5)
