"""Where the time of a training step goes, and what other ways to compute it would give.

    python benchmarks/step.py [MODEL] [--batch 16] [--imgsz 224] [--steps 4]
    python benchmarks/step.py [MODEL] --variants

The network, the layout and the precision are the defaults of `resnets train`; the images are noise. With `--variants`, each way
takes its steps in turn, and the medians are compared with plain PyTorch: torch's layout, fp32, an optimizer that is not fused.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from resnets.cli import process_settings
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.recipes.recipe import Optim
from resnets.training.optimization import optimizers
from resnets.training.precision import autocast, select_precision

NUM_CLASSES = 10
ROWS = 10  # of the table
ROUNDS = 5
BASELINE = "plain PyTorch: fp32, torch's layout, SGD not fused"


def make_step(
    name: str,
    batch: int,
    side: int,
    *,
    precision: str,
    layout: torch.memory_format = torch.channels_last,
    fused: bool = True,
    compiled: bool = False,
) -> Callable[[], None]:
    """A function that takes one training step of a new network."""
    net: nn.Module = build(zoo.get_spec(name, num_classes=NUM_CLASSES)).to(memory_format=layout).train()
    optimizer = optimizers.build_optimizer(net, Optim(), lr=0.1, fused=fused)
    images = torch.randn(batch, 3, side, side).contiguous(memory_format=layout)
    labels = torch.randint(NUM_CLASSES, (batch,))
    called = torch.compile(net) if compiled else net

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(precision, "cpu"):
            logits = called(images)
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def compare(name: str, batch: int, side: int, steps: int, precision: str) -> None:
    """Print the rate of each way, and its ratio to the baseline."""
    settings = {
        BASELINE: {"precision": "fp32", "layout": torch.contiguous_format, "fused": False},
        "fp32, channels last": {"precision": "fp32"},
        "fp32, channels last, compiled": {"precision": "fp32", "compiled": True},
        "fp32, torch's layout, compiled": {
            "precision": "fp32", "layout": torch.contiguous_format, "compiled": True,
        },
        "fp32, channels last, SGD not fused": {"precision": "fp32", "fused": False},
    }  # fmt: skip
    if precision == "bf16":
        settings |= {
            "bf16, channels last": {"precision": "bf16"},
            "bf16, channels last, compiled": {"precision": "bf16", "compiled": True},
            "bf16, torch's layout, compiled": {
                "precision": "bf16", "layout": torch.contiguous_format, "compiled": True,
            },
        }  # fmt: skip
    ways: dict[str, Callable[[], None]] = {}
    for title, values in settings.items():
        start = time.perf_counter()
        ways[title] = make_step(name, batch, side, **values)  # type: ignore[arg-type]
        ways[title]()
        print(f"first step {time.perf_counter() - start:6.1f} s: {title}", flush=True)
    seconds: dict[str, list[float]] = {title: [] for title in ways}
    for _ in range(ROUNDS):
        for title, step in ways.items():
            start = time.perf_counter()
            for _ in range(steps):
                step()
            seconds[title].append((time.perf_counter() - start) / steps)
    baseline = statistics.median(seconds[BASELINE])
    for title, values in seconds.items():
        median = statistics.median(values)
        spread = f"{batch / max(values):.1f} to {batch / min(values):.1f}"
        print(f"{batch / median:8.1f} images/s ({spread})  {baseline / median:5.2f}x  {title}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--imgsz", type=int, default=224, metavar="PIXELS")
    parser.add_argument("--steps", type=int, default=4, help="as many are timed, and as many profiled")
    parser.add_argument("--variants", action="store_true", help="compare ways to compute a step")
    options = parser.parse_args()
    process_settings.keep_memory()
    precision = str(select_precision("auto", "cpu").value)
    title = f"{options.model}, batch {options.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if options.variants:
        print(title)
        compare(options.model, options.batch, options.imgsz, options.steps, precision)
        return
    step = make_step(options.model, options.batch, options.imgsz, precision=precision)
    step()
    start = time.perf_counter()
    for _ in range(options.steps):
        step()
    seconds = (time.perf_counter() - start) / options.steps
    print(f"{title}, {precision}: {seconds:.3f} s a step, {options.batch / seconds:.1f} images/s")
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(options.steps):
            step()
    rows = sorted(profiled.key_averages(), key=lambda row: row.self_cpu_time_total, reverse=True)
    total = sum(row.self_cpu_time_total for row in rows)
    for row in rows[:ROWS]:
        print(
            f"{row.self_cpu_time_total / total:6.1%}  {row.self_cpu_time_total / 1000 / options.steps:8.1f} ms  {row.key}"
        )


if __name__ == "__main__":
    main()
