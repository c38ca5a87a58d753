"""Downloads from a real server on this machine: cut off, lied to, redirected, refused, and asked by many at once."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import file_server
from tests.file_server import act, status

from resnets.downloads import cached_download, http_download
from resnets.errors import JobError, UserError
from resnets.weights.hub import catalog, download
from resnets.weights.hub.catalog import PublishedWeights

MIB = 2**20
CONTENT = bytes(os.urandom(3 * MIB + 12_345))
SHA = hashlib.sha256(CONTENT).hexdigest()
FILE = "/models/net-0123abcd.pth"


@pytest.fixture
def server() -> Iterator[Any]:
    with file_server.serve({FILE: CONTENT}) as found:
        yield found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file_server.clean_environment(monkeypatch)
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(http_download, "PAUSE_SECONDS", (0.01, 0.01))
    return tmp_path / "home"


def published(server: Any, digest: str = f"sha256:{SHA[:8]}", **changes: Any) -> PublishedWeights:
    plain = catalog.find("resnet18.tv_in1k_v1")
    return dataclasses.replace(plain, url=server.url + FILE, digest=digest, **changes)


def parts(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*part*"))


def test_a_file_is_downloaded_whole_and_once(server: Any, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = published(server)
    path = download.download(entry)
    assert path == home / "weights" / "resnet18.tv_in1k_v1" / "net-0123abcd.pth"
    assert path.read_bytes() == CONTENT
    assert path.with_name("net-0123abcd.pth.sha256").read_text() == f"{SHA}\n"
    assert f"downloading resnet18.tv_in1k_v1: {len(CONTENT) / MIB:.1f} MiB from 127.0.0.1" in capsys.readouterr().err
    assert download.download(entry) == path
    assert len(server.asked) == 1
    assert parts(home) == []


@pytest.mark.parametrize("etag", ['"one"', "", 'W/"weak"'])
def test_a_download_is_resumed_after_a_lost_connection(server: Any, etag: str) -> None:
    server.plan = [act(cut=MIB + 5, etag=etag), act(cut=2 * MIB, etag=etag)]
    server.always = act(etag=etag)
    assert download.download(published(server)).read_bytes() == CONTENT
    starts = [headers.get("Range") for _, headers in server.asked]
    assert starts[0] is None
    # What was received of the block at which it was cut is lost: at most 64 KiB.
    assert MIB - 2**16 <= int(starts[1].removeprefix("bytes=").rstrip("-")) <= MIB + 5
    assert int(starts[2].removeprefix("bytes=").rstrip("-")) > 1.9 * MIB


def test_without_hash_it_begins_anew_when_cut_off(server: Any) -> None:
    server.plan = [act(cut=MIB)]
    assert download.download(published(server, digest="")).read_bytes() == CONTENT
    assert [headers.get("Range") is None for _, headers in server.asked] == [True, False, True]


def test_a_killed_download_is_resumed_by_the_hash_that_the_server_states(server: Any) -> None:
    server.files["/storage/blob"] = CONTENT
    server.plan = [status(302, Location="/storage/blob", X_Linked_Etag=f'"{SHA}"')]
    entry = published(server, digest="")
    partial = download.path_of(entry).with_name(".net-0123abcd.pth.part")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT[:MIB])
    assert download.download(entry).read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in server.asked] == [f"bytes={MIB}-"] * 2


def test_a_first_part_of_another_file_is_found_by_the_hash_and_fetched_again(
    server: Any, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = published(server)
    partial = download.path_of(entry).with_name(".net-0123abcd.pth.part")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * MIB)
    assert download.download(entry).read_bytes() == CONTENT
    assert "downloading it again" in capsys.readouterr().err
    assert [headers.get("Range") for _, headers in server.asked] == [f"bytes={MIB}-", None]


def test_a_server_without_ranges_is_begun_anew(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server.plan = [act(cut=2 * MIB, ranges=False)]
    server.always = act(ranges=False)
    assert download.download(published(server)).read_bytes() == CONTENT
    assert "starting again" in capsys.readouterr().err


def test_a_part_that_is_longer_than_the_file_begins_anew(server: Any) -> None:
    entry = published(server)
    partial = download.path_of(entry).with_name(".net-0123abcd.pth.part")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT + b"more")
    assert download.download(entry).read_bytes() == CONTENT


def test_the_error_counts_the_received_bytes_and_the_next_call_resumes(server: Any, home: Path) -> None:
    server.plan = [act(cut=MIB), *[status(503)] * 3]
    with pytest.raises(JobError) as error:
        download.download(published(server))
    text = str(error.value)
    come = (home / "weights/resnet18.tv_in1k_v1/.net-0123abcd.pth.part").stat().st_size
    assert f"{come:,} of {len(CONTENT):,} bytes were received" in text
    assert come > 0.9 * MIB
    assert "HTTP 503" in text
    assert "Run the same command again" in text
    assert "\n" not in text
    assert download.download(published(server)).read_bytes() == CONTENT
    assert server.asked[-1][1]["Range"] == f"bytes={come}-"


def test_a_download_that_makes_progress_is_retried_again_and_again(server: Any) -> None:
    server.plan = [act(cut=n * MIB // 4) for n in range(1, 9)]
    assert download.download(published(server)).read_bytes() == CONTENT
    assert len(server.asked) == 9


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_hash_leaves_no_file(server: Any, home: Path, kind: str) -> None:
    with pytest.raises(JobError, match=rf"its {kind} is \w+ and not 00000000, .* was removed") as error:
        download.download(published(server, digest=f"{kind}:00000000"))
    assert "put http" in str(error.value)
    assert not list(home.rglob("net-*"))
    assert parts(home) == []


def test_md5_is_compared_too(server: Any) -> None:
    assert (
        download.download(published(server, digest=f"md5:{hashlib.md5(CONTENT).hexdigest()}")).read_bytes() == CONTENT
    )


def test_a_login_page_is_called_a_text_file(server: Any) -> None:
    server.files[FILE] = b"<html>please log in</html>\n"
    with pytest.raises(JobError, match="it is a text file"):
        download.download(published(server))


def test_one_changed_byte_is_noticed(server: Any) -> None:
    server.files[FILE] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(JobError, match=r"its sha256 is .* and not"):
        download.download(published(server))


def test_a_part_of_another_size_than_announced_at_first(server: Any, home: Path) -> None:
    """A server that goes on with less than it promised, and says so."""

    def short(handler: Any) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{start + 9}/{len(CONTENT)}")
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(CONTENT[start : start + 10])

    server.plan = [act(cut=MIB), short]
    assert download.download(published(server)).read_bytes() == CONTENT  # the third request brings the rest

    def other_part(handler: Any) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 7-16/{len(CONTENT)}")
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(CONTENT[7:17])

    download.path_of(published(server)).unlink()
    server.plan = [act(cut=MIB), other_part]
    assert download.download(published(server)).read_bytes() == CONTENT


def test_a_redirect_is_followed_and_its_hash_compared(server: Any, home: Path) -> None:
    """Hugging Face tells the hash where it redirects to its storage."""
    server.files["/storage/blob"] = CONTENT
    server.plan = [status(302, Location="/storage/blob", X_Linked_Etag=f'"{SHA}"')]
    entry = published(server, digest="")
    assert download.download(entry).read_bytes() == CONTENT
    server.plan = [status(302, Location="/storage/blob", X_Linked_Etag=f'"{"0" * 64}"')]
    with pytest.raises(JobError, match=f"and not {'0' * 64}"):
        download.download(dataclasses.replace(entry, name="another"))


def test_an_answer_without_a_length_and_without_end_is_stopped(
    server: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "MAX_BYTES", MIB)

    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            while True:
                handler.wfile.write(bytes(2**16))

    server.always = endless
    with pytest.raises(JobError, match="more than 1 MiB were received of a file whose size"):
        download.download(published(server))
    assert parts(home) == []


def test_redirects_without_end(server: Any) -> None:
    server.always = status(302, Location=FILE)
    with pytest.raises(JobError, match="redirects"):
        download.download(published(server))


@pytest.mark.parametrize("code", [404, 403, 401])
def test_a_refusal_is_named_and_not_repeated(server: Any, code: int) -> None:
    server.always = status(code)
    with pytest.raises(JobError, match=rf"HTTP {code} for .*may have moved") as error:
        download.download(published(server))
    assert len(server.asked) == 1
    assert "RESNETS_MIRROR" in str(error.value)
    assert "no data was received from 127.0.0.1" in str(error.value)


def test_too_many_requests_are_waited_for(server: Any) -> None:
    server.plan = [status(429, Retry_After="1"), status(429), status(429)]
    start = time.monotonic()
    with pytest.raises(JobError, match="too many requests"):
        download.download(published(server))  # three in a row without a byte
    assert time.monotonic() - start > 1.0
    assert download.download(published(server)).read_bytes() == CONTENT


def test_a_long_wait_is_an_error(server: Any) -> None:
    server.always = status(429, Retry_After="3600")
    with pytest.raises(JobError, match="it asks to wait 3600 s"):
        download.download(published(server))
    assert len(server.asked) == 1


def test_a_host_without_a_server(
    server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http_download, "PAUSE_SECONDS", (0.01,) * 4)
    entry = published(server)
    entry = dataclasses.replace(entry, url="http://127.0.0.1:9/net-0123abcd.pth")
    with pytest.raises(JobError, match="Connection refused"):
        download.download(entry)
    assert capsys.readouterr().err.count("trying again in 0.01 s") == http_download.SILENT_TRIES - 1


def test_a_server_that_falls_silent(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_download, "TIMEOUT", (1.0, 0.2))

    def silent(handler: Any) -> None:
        whole_length = len(CONTENT)
        handler.send_response(200)
        handler.send_header("Content-Length", str(whole_length))
        handler.end_headers()
        handler.wfile.write(CONTENT[:MIB])
        time.sleep(0.5)
        handler.close_connection = True

    server.plan = [silent]
    assert download.download(published(server)).read_bytes() == CONTENT
    assert "Range" in server.asked[1][1]


def limited(entry_digest: str, url: str, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(entry_digest, url), env=environment(home), capture_output=True, text=True, **options)


def command(digest: str, url: str) -> list[str]:
    code = (
        "import dataclasses, sys\n"
        "from resnets.errors import JobError\n"
        "from resnets.weights.hub import catalog, download\n"
        f"entry = dataclasses.replace(catalog.find('resnet18.tv_in1k_v1'), url={url!r}, digest={digest!r})\n"
        "try:\n    print(download.download(entry))\n"
        "except JobError as error:\n    print(error); sys.exit(1)\n"
    )
    return [sys.executable, "-c", code]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "RESNETS_HOME": str(home)}


def test_a_full_disk_keeps_the_received_bytes(server: Any, home: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

    done = limited(f"sha256:{SHA}", server.url + FILE, home, preexec_fn=limit)
    assert done.returncode == 1, done.stderr
    assert f"{MIB:,} of {len(CONTENT):,} bytes were received, then" in done.stdout
    assert "They are kept" in done.stdout
    assert download.download(published(server)).read_bytes() == CONTENT
    assert server.asked[-1][1]["Range"] == f"bytes={MIB}-"


def test_four_processes_fetch_once(server: Any, home: Path) -> None:
    server.always = act(rate=0.02)
    words = command(f"sha256:{SHA}", server.url + FILE)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(words, env=environment(home), **pipes) for _ in range(4)]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1
    assert len(server.asked) == 1
    assert Path(answers[0][0].strip()).read_bytes() == CONTENT


def test_a_killed_process_leaves_a_part_and_no_lock(server: Any, home: Path) -> None:
    server.plan = [act(rate=0.1)]
    process = subprocess.Popen(
        command(f"sha256:{SHA}", server.url + FILE), env=environment(home), stderr=subprocess.DEVNULL
    )
    partial = home / "weights/resnet18.tv_in1k_v1/.net-0123abcd.pth.part"
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size > 3 * 2**16):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not download.path_of(published(server)).exists()
    come = partial.stat().st_size
    assert download.download(published(server)).read_bytes() == CONTENT
    assert server.asked[-1][1]["Range"] == f"bytes={come}-"


def test_offline_nothing_starts(server: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published(server)
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    with pytest.raises(UserError) as error:
        download.download(entry)
    assert str(download.path_of(entry)) in str(error.value)
    assert entry.url in str(error.value)
    assert server.asked == []
    download.path_of(entry).write_bytes(CONTENT)  # what the message says
    assert download.download(entry).read_bytes() == CONTENT
    assert server.asked == []


def test_a_file_put_there_by_hand_is_checked(server: Any, home: Path) -> None:
    entry = published(server)
    download.path_of(entry).parent.mkdir(parents=True)
    download.path_of(entry).write_bytes(b"another")
    with pytest.raises(JobError, match=r"is not resnet18.tv_in1k_v1: .*Remove it"):
        download.download(entry)


def test_later_damage_is_found_although_no_hash_is_published(server: Any) -> None:
    entry = published(server, digest="")
    path = download.download(entry)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(JobError, match="Remove it"):
        download.download(entry)


def test_the_sha256_of_the_download_is_compared_beside_an_md5(server: Any, home: Path) -> None:
    entry = published(server, digest=f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    path = download.download(entry)
    path.with_name(f"{path.name}.sha256").write_text("0" * 64)
    with pytest.raises(JobError, match="its sha256 is"):
        download.download(entry)


def test_a_mirror_over_http(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(published(server), url=f"https://weights.invalid{FILE}")
    server.files[f"/copies/weights.invalid{FILE}"] = CONTENT
    monkeypatch.setenv("RESNETS_MIRROR", f"{server.url}/copies/")
    assert download.download(entry).read_bytes() == CONTENT


def test_a_mirror_in_a_folder_works_offline(
    server: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = dataclasses.replace(published(server), url=f"https://weights.invalid{FILE}")
    copy = tmp_path / "my mirror" / "weights.invalid" / FILE.lstrip("/")
    monkeypatch.setenv("RESNETS_MIRROR", (tmp_path / "my mirror").as_uri())
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    with pytest.raises(JobError, match="there is no file"):
        download.download(entry)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(CONTENT)
    assert download.download(entry).read_bytes() == CONTENT
    assert parts(home) == []


def test_another_address_for_hugging_face(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    entry = dataclasses.replace(published(server), url=f"https://huggingface.co{FILE}")
    assert download.download(entry).read_bytes() == CONTENT
    assert cached_download.mirrored_url("https://download.pytorch.org/x.pth") == "https://download.pytorch.org/x.pth"


def test_a_file_without_a_published_hash_is_logged_with_its_own(
    server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    download.download(published(server, digest=""))
    assert f"no published hash to compare; its sha256 is {SHA}" in capsys.readouterr().err
    server.plan = [status(302, Location=FILE, X_Linked_Etag=f'"{SHA}"')]
    download.download(published(server, digest="", name="another"))
    assert "nobody" not in capsys.readouterr().err


def test_a_mirror_that_is_no_address(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_MIRROR", "/mnt/mirror")
    with pytest.raises(UserError, match="RESNETS_MIRROR is a URL"):
        download.download(published(server))


def test_a_proxy_is_asked(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://weights.invalid{FILE}"
    server.files[address] = CONTENT  # a proxy is asked for the whole address
    monkeypatch.setenv("http_proxy", server.url)
    assert download.download(dataclasses.replace(published(server), url=address)).read_bytes() == CONTENT


def test_companion_files_are_downloaded_too(server: Any, home: Path) -> None:
    server.files |= {"/models/config.json": b"{}", "/models/preprocessor_config.json": b"[]"}
    entry = published(server, format="huggingface")
    path = download.download(entry)
    assert (path.with_name("config.json")).read_bytes() == b"{}"
    assert (path.with_name("preprocessor_config.json")).read_bytes() == b"[]"
    path.with_name("config.json").unlink()
    download.download(entry)
    assert [asked for asked, _ in server.asked].count("/models/config.json") == 2
    assert [asked for asked, _ in server.asked].count(FILE) == 1


def test_a_home_that_cannot_be_written(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "file"))
    with pytest.raises(JobError, match="Set RESNETS_HOME"):
        download.download(published(server))
