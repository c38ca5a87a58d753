"""One run over two hosts: two network namespaces, joined by a virtual cable, with a torchrun in each; needs root.

    sudo python tests/soak/two_hosts.py --kills 3

The run must end in the same bytes as one of two processes on one host; then, `--kills` times, a process on either host is
killed with SIGKILL at a random moment, both launchers begin anew, and the bytes must be the same again. The exit code is
1 when anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from resnets.data.datasets import open_dataset

HOSTS = {"resnets-a": "10.77.0.1", "resnets-b": "10.77.0.2"}
PORT = 29555
PATIENCE = 600  # seconds
QUICK = "--model cifar_resnet20 --imgsz 16 --batch 32 --epochs 2 --precision fp32 --workers 0"
SAME = ("weights/best.safetensors", "weights/last.safetensors", "predictions.csv", "metrics.json")


def shell(*words: str) -> None:
    subprocess.run(words, check=True)


@contextlib.contextmanager
def cable() -> Iterator[None]:
    """Two namespaces whose only way to each other is a pair of virtual network cards."""
    first, second = HOSTS
    _remove()  # what an earlier one left that was killed
    try:
        for name in HOSTS:
            shell("ip", "netns", "add", name)
        shell("ip", "link", "add", "cable-a", "netns", first, "type", "veth", "peer", "cable-b", "netns", second)
        for (name, address), card in zip(HOSTS.items(), ("cable-a", "cable-b"), strict=True):
            for words in (
                ("addr", "add", f"{address}/24", "dev", card),
                ("link", "set", card, "up"),
                ("link", "set", "lo", "up"),
            ):
                shell("ip", "-n", name, *words)
        yield
    finally:
        _remove()


def _remove() -> None:
    for name in HOSTS:
        there = subprocess.run(
            ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
        ).stdout.split()
        for process in there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def launch(host: str, number: int, words: list[str], log: Path, job: str) -> subprocess.Popen[bytes]:
    """The launcher on one of the hosts; its card is named to gloo, as a cluster with several networks has to do."""
    card = {"resnets-a": "cable-a", "resnets-b": "cable-b"}[host]
    words = ["-m", "resnets", "train", *words]
    rendezvous = (
        f"--rdzv-backend c10d --rdzv-endpoint {HOSTS['resnets-a']}:{PORT} --rdzv-id {job} --local-addr {HOSTS[host]}"
    )
    nodes = f"--nnodes 2 --nproc-per-node 1 --max-restarts 3 --rdzv-conf is_host={number == 0}"
    launcher = [sys.executable, "-m", "torch.distributed.run", *nodes.split(), *rendezvous.split()]
    command = ["ip", "netns", "exec", host, "env", f"GLOO_SOCKET_IFNAME={card}", *launcher, *words]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def trainer(host: str) -> int | None:
    """The process that trains on this host."""
    found = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=True).stdout.split()
    for number in found:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            if b"torch.distributed.run" not in words and b"resnets" in words and b"train" in words:
                return int(number)
    return None


def attempt(folder: Path, words: list[str], job: str, kill_after: float | None, victim: str) -> tuple[bool, bool]:
    """Whether the run ended well, and whether a process was killed on the way."""
    launchers = [
        launch(host, number, [*words, "--name", job], folder / f"{job}-{host}.log", job)
        for number, host in enumerate(HOSTS)
    ]
    hit = False
    deadline = time.monotonic() + PATIENCE
    while kill_after is not None and time.monotonic() < deadline and any(each.poll() is None for each in launchers):
        if (folder / job / "state").exists():
            time.sleep(kill_after)
            if (process := trainer(victim)) is not None and launchers[0].poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    hit = True
            break
        time.sleep(0.02)
    try:
        codes = [each.wait(max(deadline - time.monotonic(), 1)) for each in launchers]
    except subprocess.TimeoutExpired:
        codes = [-1]
    for each in launchers:
        each.kill()
    return codes == [0, 0], hit


def differences(run: Path, whole: Path) -> list[str]:
    return [
        name for name in SAME if not (run / name).exists() or (run / name).read_bytes() != (whole / name).read_bytes()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    bad = 0
    with tempfile.TemporaryDirectory() as name, cable():
        folder = Path(name)
        data = str(open_dataset.read("digits").root)
        words = [data, *QUICK.split(), "--save-every", "1", "--set", "speed.threads=1", "--out", str(folder)]
        one = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "resnets"]
        subprocess.run([*one, "train", *words, "--name", "one-host"], check=True, capture_output=True)
        for number in range(asked.kills + 1):
            job = f"two-hosts-{number}"
            delay = None if number == 0 else chance.uniform(0, 3)
            victim = chance.choice(list(HOSTS))
            ended, hit = attempt(folder, words, job, delay, victim)
            found = differences(folder / job, folder / "one-host") if ended else ["it did not end"]
            bad += bool(found)
            what = "whole" if number == 0 else f"killed on {victim} after {delay:.2f} s" if hit else "not hit"
            print(
                f"{job}: {what}: {'the same bytes' if not found else 'NOT the same: ' + ', '.join(found)}", flush=True
            )
            if found:
                for log in sorted(folder.glob(f"{job}-*.log")):
                    print(f"--- {log.name}\n{log.read_text()[-3000:]}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
