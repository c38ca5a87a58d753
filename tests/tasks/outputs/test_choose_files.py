from pathlib import Path

import pytest

from resnets.tasks.outputs.choose_files import choose_files


def test_each_image_has_a_file_and_those_with_a_number_are_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choose = choose_files(tmp_path, taken={"c.png"})
    found = [choose(path, ".png").name for path in ("x/a.jpg", "b.jpg", "y/a.tif", "c.jpg")]
    assert found == ["a.png", "b.png", "a-2.png", "c-2.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"'{path}' is written as '{tmp_path / name}', since another file has its name"
        for path, name in (("y/a.tif", "a-2.png"), ("c.jpg", "c-2.png"))
    ]
