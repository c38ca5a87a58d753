"""Damaged annotations: each file is read, or is an error of one line; no other exception, and no memory without bound."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.object_datasets.object_images import save_image, some_objects
from tests.in_soak import IN_SOAK

from resnets.data.datasets.dataset import build_dataset
from resnets.data.object_datasets import open_object_dataset
from resnets.data.object_datasets.convert import convert
from resnets.data.object_datasets.objects import make_sample
from resnets.errors import UserError

FILES = {
    "coco": "_annotations.coco.json",
    "yolo": "labels/a.txt",
    "yolo yaml": "data.yaml",
    "voc": "Annotations/a.xml",
    "csv": "annotations.csv",
    "jsonl": "annotations.jsonl",
}
WORDS = [
    *(
        b"0",
        b"-1",
        b"1e999",
        b"NaN",
        b"null",
        b"1" * 400,
        b"1e9",
        b"[]",
        b"{}",
        b'"',
        b"<",
        b"\0",
        b"\xff",
        b"\\ud800",
        b" ",
    ),
    *(b"\n", b",", b": ", b"true", b"4294967296", b"99999999999999999999", b"&a;", b"*a", b"&a", b"<!DOCTYPE a>"),
    *(b"\xef\xbb\xbf", b"_", b""),
]
TOKENS = re.compile(rb"[\w.-]+|[^\w\s]|\s+")
MEMORY = 300e6  # bytes beyond what the process needs for good files
CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, len(WORDS) - 1), st.integers(0, 3)), max_size=6)


@pytest.fixture(scope="module", params=FILES)
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes]:
    """A dataset in each format, one of its files, and the content of the file."""
    root = tmp_path_factory.mktemp("good")
    sample = make_sample(str(save_image(root / "a.png")), some_objects())
    convert(build_dataset(root, [sample]), request.param.split()[0], root / "data")
    file = root / "data" / FILES[request.param]
    return root / "data", file, file.read_bytes()


def damage(content: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """The content with tokens replaced, repeated or cut out."""
    tokens = TOKENS.findall(content)
    for place, word, kind in changes:
        if tokens:
            index = place % len(tokens)
            end = index + 1 + (place // 7 % 40 if kind == 3 else 0)
            middle = tokens[index:end]
            tokens[index:end] = [[WORDS[word]], [*middle, WORDS[word]], middle * 3, []][kind]
    return b"".join(tokens)


def read_all(location: Path) -> None:
    """Read everything, masks too, or be refused in one line."""
    try:
        dataset, faults = open_object_dataset.read_and_check(location)
    except UserError as error:
        if "\n" in str(error):
            raise AssertionError("more than one line") from error
        return
    for each in faults:
        str(each).encode()
    for sample in dataset.samples:
        if not os.path.isfile(sample.path):  # then it is not checked; `data check` and a training name it
            continue
        for each in sample.target.objects if sample.target.size else ():
            x1, y1, x2, y2 = each.box
            assert 0 <= x1 < x2 <= sample.target.size[1]
            assert 0 <= y1 < y2 <= sample.target.size[0]
            each.label.encode()
            if each.mask is not None:
                assert each.mask.decode(*sample.target.size).shape == sample.target.size


@settings(max_examples=30 if IN_SOAK else 12, suppress_health_check=list(HealthCheck))
@given(CHANGES, st.binary(max_size=40))
def test_a_damaged_file_is_read_or_refused(good: tuple[Path, Path, bytes], changes: list, rest: bytes) -> None:
    location, file, content = good
    file.write_bytes(content)  # after an example that failed
    read_all(location)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for damaged in (damage(content, changes), content[: len(content) // 2] + rest):
        if file.suffix == ".yaml":  # else "/" and ".." would be walked, as the file then says
            damaged = damaged.replace(b"/", b"").replace(b"..", b"")
        file.write_bytes(damaged)
        read_all(location)
        read_all(file)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY
