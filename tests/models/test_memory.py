"""A 1202-layer network learns on a CPU, within the memory that docs/networks.md states."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.in_soak import only_in_soak

STEP = """
import re, sys
import torch
import resnets
torch.manual_seed(0)
torch.set_num_threads(1)
net = resnets.create_model("cifar_resnet1202")
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
batch = int(sys.argv[1])
loss = torch.nn.functional.cross_entropy(net(torch.randn(batch, 3, 32, 32)), torch.arange(batch) % 10)
loss.backward()
before = net.stem.conv.weight.clone()
optimizer.step()
assert not torch.equal(before, net.stem.conv.weight)
# Not ru_maxrss, in which Linux counts what the process that started this one had.
print(loss.item(), int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux'")
@only_in_soak("13 GiB")
def test_1202_layers_train_one_step_within_the_stated_memory():
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    stated = re.search(r"is (?P<gib>\d\.\d) GiB for a batch of (?P<batch>\d+)", text)
    assert stated is not None
    done = subprocess.run([sys.executable, "-c", STEP, stated["batch"]], capture_output=True, text=True, check=True)
    loss, peak_gib = map(float, done.stdout.split())
    print(f"batch {stated['batch']}: {peak_gib:.2f} GiB at most")
    assert 0 < loss < 100
    assert peak_gib < float(stated["gib"]) * 1.1
    assert peak_gib > float(stated["gib"]) * 0.7, "docs/networks.md states too much"
