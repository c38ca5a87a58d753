"""`resnets serve`: the flags become the settings, and wrong ones are refused before a model is read."""

from __future__ import annotations

import inspect
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import exported_files
from tests.serve.running import END_SECONDS, images, reference

from resnets.cli import main
from resnets.cli.verbs.serve import serve
from resnets.serve import run
from resnets.serve.service import Service
from resnets.serve.settings import ServerSettings

CHECKPOINT = str(exported_files.checkpoint_file())


class ShortServer(run.ModelServer):
    """A server that asks itself for a prediction, and ends."""

    label: str
    service: Service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.service = self.config.app.state.service  # type: ignore[union-attr]
        token = self.service.settings.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = run.address_of(self.listener)
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=END_SECONDS) as client:
            answer = await client.post("/v1/predict", content=images()[0])
        self.label = answer.json()["label"]
        self.should_exit = True


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[ShortServer]:
    """Those that were started."""
    found: list[ShortServer] = []

    def start(*arguments: Any) -> ShortServer:
        found.append(ShortServer(*arguments))
        return found[0]

    monkeypatch.setattr(run, "ModelServer", start)
    return found


def test_the_defaults_are_those_of_the_settings(
    servers: list[ShortServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported_files.copy("onnx", tmp_path / "other.onnx")
    assert main.main(["serve", CHECKPOINT, f"{tmp_path}/other.onnx", "--port", "0"]) == 0
    (server,) = servers
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    assert server.label == reference().predict([images()[0]])[0].label
    assert server.service.settings == ServerSettings()
    assert list(server.service.models) == ["model", "other"]
    defaults = {name: each.default for name, each in inspect.signature(serve).parameters.items()}
    assert (defaults["host"], defaults["port"]) == ("127.0.0.1", 8000)


def test_each_flag_has_its_effect(
    servers: list[ShortServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("abc\n")
    words = (
        f"--host 127.0.0.2 --port 0 --token-file {tmp_path}/token --batch 3 --queue 4 --timeout 5 --drain 6 "
        "--max-megabytes 0.5 --max-pixels 10000 --rate 7 --cors https://a.example --cors https://b.example "
        "--allow-host 127.0.0.2 --no-page --device cpu --backend torch --precision bf16"
    )
    assert main.main(["serve", CHECKPOINT, *words.split()]) == 0
    (server,) = servers
    assert capsys.readouterr().out.startswith("http://127.0.0.2:")
    assert server.label == reference().predict([images()[0]])[0].label
    assert server.service.settings == ServerSettings(
        batch=3, queue=4, timeout_seconds=5, drain_seconds=6, max_body_bytes=500_000, max_pixels=10_000, requests_per_second=7,
        cors=("https://a.example", "https://b.example"), allow_host=("127.0.0.2",), token="abc", page=False,
    )  # fmt: skip
    (served,) = server.service.models.values()
    assert (served.model.runner.backend, served.model.runner.precision) == ("torch", "bf16")


def test_a_server_without_a_token_is_opened_where_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Here, to an address that this machine does not have."""
    assert main.main(["serve", CHECKPOINT, "--host", "192.0.2.1", "--port", "0", "--no-token"]) == 2
    assert "--host 192.0.2.1 with --port 0 cannot be used" in capsys.readouterr().err


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
