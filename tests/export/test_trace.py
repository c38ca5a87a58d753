"""A graph that is traced: nothing of this machine in it, and torch's settings as they were."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from resnets.export.trace import trace, without_stack_traces


class Doubled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        if not torch.fx.config.do_not_emit_stack_traces:
            raise AssertionError("the lines of Python are looked up")
        return 2 * images


def test_a_trace_names_no_line_of_python_and_takes_any_batch() -> None:
    program = trace(Doubled(), torch.ones(2, 3, 8, 8), "none", (8, 8))
    assert not any("stack_trace" in node.meta for node in program.graph.nodes)
    images = torch.rand(5, 3, 8, 8)
    assert torch.equal(program.module()(images), 2 * images)
    assert not torch.fx.config.do_not_emit_stack_traces


@pytest.mark.parametrize("before", [False, True])
def test_the_setting_of_torch_is_restored_after_an_error(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.fx.config, "do_not_emit_stack_traces", before)
    with pytest.raises(ZeroDivisionError), without_stack_traces():
        print(1 // 0)
    assert torch.fx.config.do_not_emit_stack_traces is before
