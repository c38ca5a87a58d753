"""The limits of a container are found in both versions of cgroups, nested or not, and nothing in their files is an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnets import ranks, resource_limits
from resnets.data.loading import ram_cache

GB = 10**9
V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1_MOUNTS = (
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
)


def machine(root: Path, group: str, mounts: str, files: dict[str, str], *, free_kib: int = 20 * 10**6) -> Path:
    """A /proc and a /sys below `root`."""
    everything = {
        "proc/self/cgroup": group,
        "proc/self/mountinfo": f"23 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mounts}\n",
        "proc/meminfo": f"MemTotal: 99999999 kB\nMemAvailable: {free_kib} kB\n",
        **{f"sys/fs/cgroup/{name}": content for name, content in files.items()},
    }
    for name, content in everything.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


V2 = {"a/memory.max": f"{GB}\n", "a/memory.current": "300\n", "a/memory.stat": "anon 1\ninactive_file 200\n"}
V2_QUOTA = {"a/cpu.max": "50000 100000\n"}
V1 = {
    "memory/a/memory.limit_in_bytes": f"{GB}\n", "memory/a/memory.usage_in_bytes": "300\n",
    "memory/a/memory.stat": "inactive_file 7\ntotal_inactive_file 200\n",
    "cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
}  # fmt: skip
V1_GROUP = "9:name=systemd:/\n4:memory:{0}\n2:cpu,cpuacct:{0}\n0::/\n"


@pytest.mark.parametrize(
    ("group", "mounts", "files"),
    [
        pytest.param("0::/a\n", V2_MOUNT, {**V2, **V2_QUOTA}, id="version 2"),
        pytest.param("0::/a/b/c\n", V2_MOUNT, {**V2, **V2_QUOTA, "a/b/c/cpu.max": "max 100000\n"}, id="2, a parent's"),
        pytest.param(
            "0::/a/b\n", V2_MOUNT,
            {**V2, **V2_QUOTA, "a/b/memory.max": f"{2 * GB}\n", "a/b/memory.current": "0\n", "a/b/cpu.max": "200000 100000\n"},
            id="2, the tightest of several",
        ),
        pytest.param("0::/host/a\n", V2_MOUNT.replace(" / /sys", " /host /sys"), {**V2, **V2_QUOTA}, id="2, not from the root"),
        pytest.param(
            "0::/../../elsewhere\n", V2_MOUNT, {name.removeprefix("a/"): text for name, text in {**V2, **V2_QUOTA}.items()},
            id="2, its own root",
        ),
        pytest.param(V1_GROUP.format("/a"), V1_MOUNTS, V1, id="version 1"),
        pytest.param(
            V1_GROUP.format("/a/b"), V1_MOUNTS,
            {**V1, "memory/a/b/memory.limit_in_bytes": "9223372036854771712\n", "cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n"},
            id="1, a parent's",
        ),
        pytest.param(
            V1_GROUP.format("/docker/0123"), V1_MOUNTS, {name.replace("/a/", "/"): text for name, text in V1.items()},
            id="1, named as on the host",
        ),
        pytest.param(
            V1_GROUP.format("/a"), f"{V1_MOUNTS}\n38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw", V1, id="both"
        ),
    ],
)  # fmt: skip
def test_the_limits_of_a_container(group: str, mounts: str, files: dict[str, str], tmp_path: Path) -> None:
    root = machine(tmp_path, group, mounts, files)
    assert resource_limits.free_memory(root) == GB - 300 + 200
    assert resource_limits.cpu_quota(root) == 0.5
    assert resource_limits.cpu_count(root) == 1


@pytest.mark.parametrize(
    ("group", "mounts", "files"),
    [
        ("0::/\n", V2_MOUNT, {}),
        ("0::/a\n", V2_MOUNT, {"a/memory.max": "max\n", "a/memory.current": "5\n", "a/cpu.max": "max 100000\n"}),
        (V1_GROUP.format("/"), V1_MOUNTS, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}),
        ("", "", {}),
    ],
)
def test_without_a_limit_the_machine_decides(group: str, mounts: str, files: dict[str, str], tmp_path: Path) -> None:
    root = machine(tmp_path, group, mounts, files, free_kib=1000)
    assert resource_limits.free_memory(root) == 1000 * 1024
    assert resource_limits.cpu_quota(root) is None
    assert resource_limits.cpu_count(root) == resource_limits.cpu_count(tmp_path / "nothing") >= 1


def test_a_full_cgroup_has_no_free_memory(tmp_path: Path) -> None:
    files = {"a/memory.max": "1000\n", "a/memory.current": "1500\n", "a/memory.stat": "inactive_file 100\n"}
    assert resource_limits.free_memory(machine(tmp_path, "0::/a\n", V2_MOUNT, files)) == 0


def test_throttling_counts_as_a_limit(tmp_path: Path) -> None:
    files = {"a/memory.max": "max\n", "a/memory.high": "1000\n", "a/memory.current": "400\n"}
    assert resource_limits.free_memory(machine(tmp_path, "0::/a\n", V2_MOUNT, files)) == 600


@pytest.mark.parametrize(("quota", "count"), [(150_000, 2), (100_000, 1), (10_000, 1), (10**9, None)])
def test_a_quota_is_rounded_up_and_never_above_the_affinity(quota: int, count: int | None, tmp_path: Path) -> None:
    here = len(os.sched_getaffinity(0))
    root = machine(tmp_path, "0::/\n", V2_MOUNT, {"cpu.max": f"{quota} 100000\n"})
    assert resource_limits.cpu_count(root) == min(here, count or here)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(texts=st.lists(st.text(max_size=30), min_size=7, max_size=7))
def test_whatever_the_files_hold_there_is_an_answer(texts: list[str], tmp_path: Path) -> None:
    group, mount, *rest = texts
    names = ("memory.max", "memory.current", "memory.stat", "cpu.max", "memory.high")
    root = machine(tmp_path, f"0::{group}\n", f"{V2_MOUNT}\n{mount}", dict(zip(names, rest, strict=True)))
    assert resource_limits.free_memory(root) >= 0
    assert resource_limits.cpu_count(root) >= 1


def test_the_real_machine() -> None:
    assert 10**7 < resource_limits.free_memory() < 10**14
    assert 1 <= resource_limits.cpu_count() <= (os.cpu_count() or 1)


def test_whoever_asks_for_processors_or_memory_asks_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a\n", V2_MOUNT, {**V2, **V2_QUOTA})
    monkeypatch.setattr(resource_limits, "ROOT", root)
    assert ranks.cpus_per_rank() == 1
    assert ram_cache.free_memory() == GB - 100
