"""An image counts once in the gate, however many copies there are."""

from __future__ import annotations

from pathlib import Path

from resnets.data.datasets.dataset import Sample
from resnets.export.quantization.gate_images import without_copies


def test_one_sample_of_each_content_is_kept_the_one_with_a_label(tmp_path: Path) -> None:
    for name, content in {"a": b"1", "b": b"2", "c": b"1", "d": b"2", "e": b"3"}.items():
        (tmp_path / name).write_bytes(content)
    labels = {"a": ("ant",), "b": None, "c": ("bee",), "d": ("bee",), "e": None}
    samples = [Sample(str(tmp_path / name), each) for name, each in labels.items()]
    missing = Sample(str(tmp_path / "missing"), ("ant",))
    kept = without_copies([*samples, missing, missing])
    assert [Path(each.path).name for each in kept] == ["a", "d", "e", "missing", "missing"]
    assert without_copies(kept) is kept
