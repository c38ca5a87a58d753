"""The names of parts."""

from __future__ import annotations

from pathlib import Path

from resnets.tasks.predict_parts.part import Part, find_part_names, part_name

SETTINGS = {"images": 12, "precision": "fp32"}


def test_the_name_of_a_part_depends_on_all_that_decides_its_rows() -> None:
    parts = [Part(number, 0, 9, sha256) for number in (0, 1) for sha256 in ("a", "b")]
    names = {part_name(part, settings) for part in parts for settings in (SETTINGS, SETTINGS | {"precision": "bf16"})}
    assert len(names) == 8
    reordered = dict(reversed(SETTINGS.items()))
    assert part_name(parts[0], SETTINGS) == part_name(parts[0], reordered)


def test_parts_are_found_by_their_names(tmp_path: Path) -> None:
    names = {part_name(Part(number, 0, 9, "a"), SETTINGS) for number in range(3)}
    for name in (*names, "_manifest.json", ".writing-part-0.parquet"):
        (tmp_path / name).touch()
    assert find_part_names(tmp_path) == names
