"""Standard deviations against those of the layers run by hand."""

import numpy as np
import torch
from tests.studies import known_images

from resnets.studies.measurements.layer_deviations import deviations


@torch.no_grad()
def test_the_deviations_are_those_of_the_layers_run_by_hand() -> None:
    (network,), images = known_images.load(known_images.checkpoint_file(blocks=1))
    x, net, expected = images.stacked(known_images.PREPROCESS), network.net, []
    x = net.stem.norm(net.stem.conv(x))
    expected.append(x.std().item())
    x = x.relu()
    for stage in net.stages.values():
        block = stage.block1
        first = block.branch.norm1(block.branch.conv1(x))
        second = block.branch.norm2(block.branch.conv2(first.relu()))
        expected += [first.std().item(), second.std().item()]
        x = (second + block.shortcut(x)).relu()
    found = deviations(net, images.stacked(known_images.PREPROCESS))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
