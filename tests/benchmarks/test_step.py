from __future__ import annotations

from pathlib import Path

from tests.forked_processes import run_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "step.py"


def test_it_says_where_the_time_of_a_step_goes(tmp_path: Path) -> None:
    words = ("cifar_resnet20", "--batch", "4", "--imgsz", "16", "--steps", "1")
    lines = run_script(tmp_path / "log", SCRIPT, *words).splitlines()  # those of the profiler's own log too
    assert any(line.startswith("cifar_resnet20, ") for line in lines)
    rows = [line for line in lines if "%" in line]
    shares = [float(row.split("%")[0]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert any(row.endswith("aten::convolution_backward") for row in rows)
    assert 50 < sum(shares) <= 100.1


def test_the_variants_are_compared_with_plain_pytorch(tmp_path: Path) -> None:
    """`torch.compile` takes most of a minute for these steps, and leaves them as they are here."""
    words = ("tiny", "--batch", "2", "--imgsz", "16", "--steps", "1", "--variants")
    lines = run_script(tmp_path / "log", SCRIPT, *words, TORCHDYNAMO_DISABLE="1").splitlines()
    rates = [line for line in lines if "images/s" in line]
    assert rates[0].endswith("plain PyTorch: fp32, torch's layout, SGD not fused")
    assert "1.00x" in rates[0]
    assert len(rates) == sum(line.startswith("first step") for line in lines) >= 5
