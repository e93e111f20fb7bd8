"""A study of 24 runs, two at a time, under all that can go wrong; then one command. Minutes: `pytest -m soak`."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from mtl.rundir import RunDir

ROOT = Path(__file__).parents[2]
KILLS = 50
NUM_RUNS = 24
OTHERS = ("memory", "full", "read-only")  # disturbances beside kills
COMPARED = ("config.yaml", "rejected.csv", "history.jsonl", "metrics.json", "predictions.csv", "best.pt")
WORDS = (
    *("-m", "weighting=sum,uncertainty,dwa,pcgrad", "seed=range(0,6)", "hydra.launcher.n_jobs=2"),
    *("train.epochs=8", "train.batch_size=16", "train.threads=1", "train.device=cpu"),
    *("data.draw.num=300", "backbone=mobilenet", "logger=none"),
)


def start(folder: Path, cache: Path) -> subprocess.Popen[str]:
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *WORDS, f"data.cache={cache}", f"runs_dir={folder}"],
            env=os.environ | {"OMP_WAIT_POLICY": "passive"},
            stdout=log,
            stderr=log,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )


def runs(folder: Path) -> list[RunDir]:
    return [RunDir(path.parent) for path in sorted((folder / "default").glob("*/status.json"))]


def contents(folder: Path) -> dict[str, bytes]:
    found = {f"{run.path.name}/{name}": (run.path / name).read_bytes() for run in runs(folder) for name in COMPARED}
    return {name: text.replace(str(folder).encode(), b"runs") for name, text in found.items()}


def workers(parent: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    return [int(word) for word in children.read_text().split()] if parent.poll() is None else []


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, which can be full and read-only."""
    if os.geteuid() or not sys.platform.startswith("linux"):
        pytest.skip("mounts a disk: needs Linux and root")
    folder = tmp_path / "disturbed"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=2g", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.soak
def test_everything_that_can_go_wrong(tmp_path, disk):
    undisturbed, cache = tmp_path / "undisturbed", tmp_path / "cache"
    assert start(undisturbed, cache).wait() == 0
    draw, done = random.Random(5), Counter[str]()
    process = start(disk, cache)

    def alive() -> subprocess.Popen[str]:
        return process if process.poll() is None else start(disk, cache)

    def pause(least: float, most: float) -> None:
        time.sleep(draw.uniform(least, most))

    kinds = ["kill worker", "kill worker", "kill parent", "term parent", "ctrl-c", "term worker", *OTHERS]
    while sum(done[kind] for kind in {*kinds} - {*OTHERS}) < KILLS or not {*OTHERS} <= done.keys():
        process = alive()
        deadline = time.monotonic() + 60
        while draw.random() < 0.9 and not workers(process) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)  # mostly amid training, now and then while it starts
        pause(0.5, 5)
        kind = draw.choice(kinds)
        children = workers(process)
        if "worker" in kind and children:
            os.kill(draw.choice(children), signal.SIGKILL if kind == "kill worker" else signal.SIGTERM)
        elif kind in ("kill parent", "term parent", "ctrl-c") and process.poll() is None:
            number = {"kill": signal.SIGKILL, "term": signal.SIGTERM}.get(kind.split()[0], signal.SIGINT)
            process.send_signal(number)
            process.wait(120)
        elif kind == "memory" and children:  # the next large allocation fails
            resource.prlimit(draw.choice(children), resource.RLIMIT_AS, (2**20, 2**20))
        elif kind == "full":
            free = os.statvfs(disk)
            used = (free.f_blocks - free.f_bfree) * free.f_frsize // 1024
            mount("-o", f"remount,size={used + 64}k", str(disk))
            pause(1, 3)
            mount("-o", "remount,size=2g", str(disk))
        elif kind == "read-only":
            if subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True).returncode:
                continue  # a file is open for writing: busy
            pause(1, 3)
            mount("-o", "remount,rw", str(disk))
        else:
            continue
        done[kind] += 1
    process = alive()
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    log = disk.parent / f"{disk.name}.log"
    assert start(disk, cache).wait() == 0, log.read_text()[-3000:]
    assert [run.state()[0] for run in runs(disk)] == ["done"] * NUM_RUNS
    ours, theirs = contents(disk), contents(undisturbed)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if ours[name] != theirs[name]] == []
    finished = Counter(re.findall(r"(?m)^(?:\[\S+\] )?(\S+): test at epoch", log.read_text()))
    assert max(finished.values()) == 1, "a run was run twice"
    left = {path.name for run in runs(disk) for path in run.path.iterdir()}
    assert not [name for name in left if name.startswith(".")], "claims and temporary files are left"
    print(f"{done.total()} disturbances: {', '.join(f'{number} {kind}' for kind, number in sorted(done.items()))}")
