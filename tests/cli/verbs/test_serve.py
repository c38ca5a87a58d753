"""`resnets serve`: the flags become the settings, and wrong ones are refused before a model is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resnets.cli import main
from resnets.serve import run
from resnets.serve.settings import ServerSettings


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be served."""
    found: list[tuple[Any, ...]] = []

    def serve_files(paths: list[str], settings: ServerSettings, **options: Any) -> None:
        found.append((paths, settings, options))

    monkeypatch.setattr(run, "serve_files", serve_files)
    return found


def test_the_defaults_are_those_of_the_settings(calls: list[tuple[Any, ...]]) -> None:
    assert main.main(["serve", "one", "two.onnx"]) == 0
    ((paths, settings, options),) = calls
    assert paths == ["one", "two.onnx"]
    assert settings == ServerSettings()
    assert options.pop("announce")
    defaults = {"device": "auto", "backend": "auto", "precision": "auto"}
    assert options == {"host": "127.0.0.1", "port": 8000, "no_token": False, **defaults}


def test_each_flag_has_its_setting(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("twenty-letters-token\n")
    words = (
        f"serve one --host 0.0.0.0 --port 0 --token-file {tmp_path}/token --no-token --batch 3 --queue 4 --timeout 5 --drain 6 "
        "--max-megabytes 0.5 --max-pixels 1000 --rate 7 --cors https://a.example --cors https://b.example --allow-host c.example "
        "--no-page --device cpu --backend torch --precision bf16"
    )
    assert main.main(words.split()) == 0
    ((_, settings, options),) = calls
    assert settings == ServerSettings(
        batch=3, queue=4, timeout_seconds=5, drain_seconds=6, max_body_bytes=500_000, max_pixels=1000, requests_per_second=7,
        cors=("https://a.example", "https://b.example"), allow_host=("c.example",), token="twenty-letters-token", page=False,
    )  # fmt: skip
    del options["announce"]
    assert options == {
        "host": "0.0.0.0", "port": 0, "no_token": True, "device": "cpu", "backend": "torch", "precision": "bf16",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "one --host 0.0.0.0",
            "--host 0.0.0.0 opens the server to other machines. Give it a --token-file, or say --no-token",
        ),
        ("one --token-file gone", "--token-file gone cannot be read: No such file or directory."),
        ("one --cors example.org", "--cors is an origin such as https://example.org; received 'example.org'."),
        ("one --max-pixels 999999999", "--max-pixels is at most 89,478,485; received 999,999,999."),
        ("one --port 99999", "--port"),
        ("one --queue 0", "--queue"),
        ("gone --port 0", "There is no checkpoint 'gone'."),
    ],
)
def test_what_is_refused(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["serve", *words.split()]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
