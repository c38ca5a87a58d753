"""Where the answers of `resnets predict` go."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.tasks import predict_files


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_pipe_gets_each_line_as_it_comes() -> None:
    read, into = os.pipe()
    os.set_blocking(read, False)
    with predict_files._opened(f"/dev/fd/{into}", sys.stdout) as file:
        for line in (b"first\r\n", b"second\r\n"):
            file.write(line.decode())
            assert os.read(read, 100) == line
    os.close(read)
    os.close(into)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with predict_files._opened(str(tmp_path / "a.csv"), sys.stdout) as file:
        file.write("first\r\n")
        assert not (tmp_path / "a.csv").exists()
    assert (tmp_path / "a.csv").read_bytes() == b"first\r\n"


def test_classes_that_nothing_shows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`top_k=3` has no effect with `sort_into` alone"):
        predict_files.predict_files("x", ["y"], sort_into=str(tmp_path / "sorted"), top_k=3)
