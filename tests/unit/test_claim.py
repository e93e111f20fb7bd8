"""One process at a time has a run: real processes race, die, stop, and come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mtl.claim import DEAD_AFTER, Claim

RACE = """
import sys, time
from pathlib import Path
from mtl.claim import Claim
root, start = Path(sys.argv[1]), Path(sys.argv[2])
while not start.exists():
    time.sleep(0.001)
for folder in sorted(root.iterdir()):
    claim = Claim(folder)
    if claim.take() is None and not claim.lost():
        (folder / f"winner.{claim._number}.{id(claim)}.{time.time_ns()}").touch()
print("through", flush=True)
input()  # who has ended has its runs no longer
"""
TAKE = """
import sys
from pathlib import Path
from mtl.claim import Claim
print(Claim(Path(sys.argv[1])).take(), flush=True)
input()
"""


@pytest.fixture
def other(tmp_path):
    """A process that has the claim on `tmp_path`."""
    with taker(tmp_path) as process:
        assert process.stdout.readline() == "None\n"
        yield process
        process.kill()


def taker(folder):
    command = [sys.executable, "-c", TAKE, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dead", [False, True], ids=["a new run", "a dead process's run"])
def test_of_many_that_reach_for_a_run_one_gets_it(tmp_path, dead):
    root, start = tmp_path / "runs", tmp_path / "start"
    folders = [root / f"{i:02}" for i in range(40)]
    for folder in folders:
        folder.mkdir(parents=True)
        if dead:
            abandoned = Claim(folder)
            assert abandoned.take() is None
            elsewhere(folder, 1, DEAD_AFTER + 1)
    command = [sys.executable, "-c", RACE, str(root), str(start)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    start.touch()
    assert [racer.stdout.readline() for racer in racers] == ["through\n"] * 6
    for racer in racers:
        racer.communicate("\n", timeout=60)
    assert [len(list(folder.glob("winner.*"))) for folder in folders] == [1] * len(folders)
    assert [len(list(folder.glob(".claim.*"))) for folder in folders] == [1] * len(folders)


def elsewhere(folder, number, silent):
    """Make the claim that of another machine whose last heartbeat is `silent` seconds ago."""
    path = folder / f".claim.{number}"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "elsewhere", "pid": 7}))
    os.utime(path, (time.time() - silent,) * 2)


def test_a_living_process_keeps_its_run(tmp_path, other):
    assert Claim(tmp_path).take() == f"process {other.pid}"
    assert Claim(tmp_path).owner() == f"process {other.pid}"


def test_a_stopped_process_keeps_its_run_without_a_heartbeat(tmp_path, other):
    other.send_signal(signal.SIGSTOP)
    os.utime(tmp_path / ".claim.1", (1, 1))
    assert Claim(tmp_path).take() == f"process {other.pid}"


def test_a_killed_process_loses_it_at_once(tmp_path, other):
    other.kill()
    deadline = time.monotonic() + 10
    while Claim(tmp_path).owner() and time.monotonic() < deadline:  # it is a zombie first
        time.sleep(0.01)
    claim = Claim(tmp_path)
    assert claim.take() is None
    assert files(tmp_path) == [".claim.2"]


def test_a_number_that_another_process_has_since_is_no_owner(tmp_path, other):
    path = tmp_path / ".claim.1"
    who = json.loads(path.read_text())
    path.write_text(json.dumps(who | {"born": "1"}))
    assert Claim(tmp_path).owner() is None


@pytest.mark.parametrize(("silent", "owner"), [(DEAD_AFTER - 15, "process 7 on elsewhere"), (DEAD_AFTER + 15, None)])
def test_of_another_machine_the_heartbeat_is_all_one_knows(tmp_path, silent, owner):
    Claim(tmp_path).take()
    elsewhere(tmp_path, 1, silent)
    assert Claim(tmp_path).owner() == owner


def test_a_claim_that_is_not_written_yet_counts_until_it_is_old(tmp_path):
    path = tmp_path / ".claim.4"
    path.touch()
    assert Claim(tmp_path).take() == "another process"
    os.utime(path, (0, 0))
    assert Claim(tmp_path).take() is None
    assert files(tmp_path) == [".claim.5"]


def test_a_beat_keeps_it_alive(tmp_path):
    claim = Claim(tmp_path)
    claim.take()
    elsewhere(tmp_path, 1, 1000)
    claim.beat()
    assert Claim(tmp_path).owner() == "process 7 on elsewhere"


def test_who_was_silent_too_long_learns_that_it_has_lost_and_takes_nothing_away(tmp_path):
    slow = Claim(tmp_path)
    slow.take()
    assert not slow.lost()
    elsewhere(tmp_path, 1, DEAD_AFTER + 1)
    quick = Claim(tmp_path)
    assert quick.take() is None
    assert slow.lost()
    assert not quick.lost()
    slow.release(done=True)
    assert files(tmp_path) == [".claim.2"]


def test_a_released_run_is_free_and_its_number_is_not_used_again(tmp_path):
    claim = Claim(tmp_path)
    claim.take()
    claim.release(done=False)
    with taker(tmp_path) as process:
        assert process.communicate("\n") == ("None\n", None)
    assert files(tmp_path) == [".claim.2"]


def test_a_finished_run_keeps_no_claim(tmp_path):
    claim = Claim(tmp_path)
    claim.take()
    claim.release(done=True)
    assert files(tmp_path) == []
    assert claim.owner() is None


def test_a_full_disk_leaves_no_claim(tmp_path):
    """Creating takes no block, writing does: a tmpfs of one page that is full."""
    if os.geteuid() or not sys.platform.startswith("linux"):
        pytest.skip("mounts a small tmpfs: needs Linux and root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(tmp_path)], check=True)
    try:
        (tmp_path / "full").write_bytes(bytes(4096))
        with pytest.raises(OSError, match="No space left"):
            Claim(tmp_path).take()
        assert files(tmp_path) == ["full"]
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
