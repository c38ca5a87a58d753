"""Every command and every piece of Python in README.md and docs/ does what the page says.

The `bash` and `python` blocks of a page are run in order, as a reader would, in a folder with nothing but an `image.jpg`
and, for the README, a folder `photos` of the reader's own images. Many pages begin with the same two commands; these run once.
A block after `<!-- not run: reason -->` (real data, minutes of work) is only read: its verbs and flags must exist.

In `make soak` all is run as it stands. In `make test` long trainings are shortened (see `shorten`), and pages whose commands take
four seconds or more (LONG_PAGES) are only read.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pkgutil
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from tests.in_soak import IN_SOAK
from tests.made_once import made_once

from resnets.cli import main, usage_errors
from resnets.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
OTHERS = [ROOT / name for name in ("CONTRIBUTING.md", "ARCHITECTURE.md", "AGENTS.md")]
PAGES = [README, *OTHERS, *sorted((ROOT / "docs").glob("*.md"))]
LONG_PAGES = (
    *(
        "deploy.md",
        "detection.md",
        "embeddings.md",
        "int8.md",
        "keras.md",
        "large_datasets.md",
        "python.md",
        "recipes.md",
    ),
    *("resnet50_variants.md", "segmentation.md", "serve.md", "ship.md", "split.md", "studies.md"),
    *("train.md", "weights.md"),
)
MOST_EPOCHS = 10
MOST_IMAGES = 50
RUN = ("bash", "python")
# What is printed, or stands in a file; nothing to run. tests/export/test_export_library_folder.py runs JavaScript, where Node is.
SHOWN = ("text", "toml", "csv", "json", "make", "javascript")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- not run: (\S.*?) -->\s*\Z")
SHELL_SIGNS = set("|<>&;$`*?#")
INLINE = re.compile(r"`((?:OMP_NUM_THREADS=\d )?(?:resnets|make) [^`]+)`")  # a command within a sentence
PATH = re.compile(r"(?<![\w./-])(?:src|tests|docs|benchmarks|examples)/[\w./-]*[\w/]")
NAME = re.compile(r"`(resnets(?:\.\w+)+)`")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    reason: str  # why it is not run, or ""


def blocks(page: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(page):
        mark = MARK.search(page[: match.start()])
        line = page[: match.start()].count("\n") + 2
        found.append(Block(match.group(1), match.group(2), line, mark.group(1) if mark else ""))
    return found


def commands(block: Block) -> Iterator[str]:
    """The commands of a bash block, continued lines joined, comments left out."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield " ".join(line.split())


def check_words(command: str) -> None:
    """A command must be one, run or not: the verb exists, with these flags; the target is in the Makefile."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
    if "resnets" not in words[:2]:
        return
    entry = main.command()
    words = usage_errors.normalize_arguments(words[words.index("resnets") + 1 :])
    while hasattr(entry, "commands") and words and not words[0].startswith("-"):
        assert words[0] in entry.commands, f"no verb '{words[0]}' in: {command}"
        entry = entry.commands[words.pop(0)]
    known = {"--help", *(flag for parameter in entry.params for flag in parameter.opts)}
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-[\d.]*", word):
            assert word.partition("=")[0] in known, f"no flag '{word}' in: {command}"


def shorten(words: list[str]) -> list[str]:
    """A training for one epoch, if the page leaves the number of epochs to the recipe, whose default takes minutes.

    But in `make soak`: for MOST_EPOCHS and of MOST_IMAGES at most, and `bench` without repetitions.
    """
    if "--epochs" in words and not IN_SOAK:
        place = words.index("--epochs") + 1
        words[place] = words[place] if words[place].startswith("+") else str(min(int(words[place]), MOST_EPOCHS))
    if words[:3] == ["resnets", "data", "get"] and "--count" in words and not IN_SOAK:
        place = words.index("--count") + 1
        words[place] = str(min(int(words[place]), MOST_IMAGES))
    if words[:2] == ["resnets", "bench"] and not IN_SOAK:
        words = [*words, "--seconds", "0"]  # the last one counts
    decided = any(word in ("--epochs", "--resume", "--dry-run") or word.startswith("stop.") for word in words)
    return words if words[:2] != ["resnets", "train"] or decided else [*words, "--epochs", "1"]


def run_command(command: str) -> None:
    """Run it here when it is a plain `resnets …` (torch is loaded once), or ends in one that reads a pipe; else in a shell."""
    words = shorten(shlex.split(command))
    if words[0] == "resnets" and not SHELL_SIGNS & set(re.sub("'[^']*'", "", command)):
        assert main.main(words[1:]) == 0, command
        return
    before, _, last = command.rpartition(" | ")
    if last.startswith("resnets ") and not SHELL_SIGNS & set(last):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(in_a_shell(before)), "utf-8"))
            assert main.main(shlex.split(last)[1:]) == 0, command
        return
    in_a_shell(command)


def in_a_shell(command: str) -> bytes:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env={**os.environ, "PATH": path}, capture_output=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout


def save_photos(folder: Path) -> None:
    """Images as a reader may have them: a folder for each class."""
    for label, color in {"cat": "#c96", "dog": "#555", "horse": "#842"}.items():
        (folder / label).mkdir(parents=True)
        for number in range(6):
            image = Image.new("RGB", (48, 40), color)
            image.paste("#fff", (number, number, number + 12, number + 12))
            image.save(folder / label / f"{number}.jpg")


BEGINNING = ["resnets data get shapes photos --count 180", "resnets train photos --model tiny --epochs 1 --name first"]


@pytest.fixture(scope="session")
def begun() -> Path:
    """A folder in which the commands of BEGINNING were run."""

    def begin(folder: Path) -> Path:
        with contextlib.chdir(folder):
            for command in BEGINNING:
                run_command(command)
        return folder

    return made_once("begun", begin)


PAGES_WITH_COMMANDS = [page for page in PAGES if any(block.language in RUN for block in blocks(page.read_text()))]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.name)
def test_what_the_page_tells_to_do_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    run = IN_SOAK or page.name not in LONG_PAGES
    first = next(
        (list(commands(each)) for each in blocks(page.read_text()) if each.language == "bash" and not each.reason), []
    )
    done = BEGINNING if first[: len(BEGINNING)] == BEGINNING else []
    if done and run:
        shutil.copytree(request.getfixturevalue("begun"), tmp_path, dirs_exist_ok=True)
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").save(tmp_path / "image.jpg")
    if page == README:
        save_photos(tmp_path / "photos")
    request.addfinalizer(lambda: end_processes(tmp_path))
    names: dict[str, object] = {}
    with contextlib.chdir(tmp_path):
        for block in blocks(page.read_text()):
            where = f"{page.name}:{block.line}"
            assert block.language in (*RUN, *SHOWN), f"{where}: write the kind of the block, one of {RUN + SHOWN}"
            if block.language == "python" and (block.reason or not run):
                compile(block.text, where, "exec")
            elif block.language == "python":
                exec(compile(block.text, where, "exec"), names)
            elif block.language == "bash":
                for command in commands(block):
                    check_words(command)
                    if run and not block.reason and command not in done:
                        run_command(command)
        if page == README:
            check_convergence(tmp_path / "runs" / "first")


def end_processes(folder: Path) -> None:
    """End the servers that the page has started and, after a failure, not ended; their numbers are in files."""
    for file in folder.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGTERM)


def check_convergence(run: Path) -> None:
    """The default recipe learns: 97.5 % of the test images after the 40 epochs of the README, in one minute on one core;
    53 % after 10, where one of ten would be right by chance."""
    assert json.loads((run / "metrics.json").read_text())["top1"] > (0.95 if IN_SOAK else 0.35)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]+)(?:#([^)]*))?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
            assert not heading or heading in headings(page.parent / target), f"{page.name}: {target}#{heading}"


def headings(page: Path) -> list[str]:
    """As they stand in an address: small letters, hyphens for blanks, no other signs."""
    found = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return [re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_files_and_names_within_sentences_exist(page: Path) -> None:
    text = page.read_text()
    for command in INLINE.findall(FENCE.sub("", text)):
        check_words(" ".join(command.replace("\\|", "|").split()))
    for path in PATH.findall(text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"
    for name in NAME.findall(text):
        pkgutil.resolve_name(name)


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = README.read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme


def test_the_check_of_words_finds_what_is_wrong() -> None:
    check_words("resnets models")
    check_words("make test")
    for wrong in ("resnets tarin x", "resnets train x --no-such-flag 3", "make tset", "resnets data got digits x"):
        with pytest.raises((AssertionError, UserError)):
            check_words(wrong)


def test_a_mark_covers_the_next_block_only() -> None:
    page = "<!-- not run: needs hours -->\n```bash\nfirst\n```\n\n```bash\nsecond \\\n  third\n```\n"
    found = blocks(page)
    assert [block.reason for block in found] == ["needs hours", ""]
    assert list(commands(found[1])) == ["second third"]
