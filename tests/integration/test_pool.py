"""Child processes that work, fail, are killed, stopped and interrupted, in a real pool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

HEAD = """
import json, os, signal, sys, time
from contextlib import contextmanager
from pathlib import Path
from mtl.pool import Job, Pool
folder = Path(sys.argv[1])

def note(event, name, **more):
    with open(folder / "events", "a") as file:
        file.write(json.dumps({"event": event, "name": name, "pid": os.getpid(), **more}) + "\\n")

def ended(job, end):
    note("ended", job.title, value=end.value, reason=end.reason)
"""
EVERYTHING = (
    HEAD
    + """
def works(name, value, action=lambda: None):
    def work():
        note("begin", name, gpu=os.environ.get("CUDA_VISIBLE_DEVICES"))
        print("half a line of", name, end="")
        time.sleep(0.05)
        action()
        print(" and the rest")
        note("end", name)
        return value
    return work

def fails():
    raise RuntimeError("deep down")

pool = Pool(n_jobs=2)
print("threads", pool.threads)
pool.slots = ["0", "3"]  # as on a machine with such GPUs
pool.run([
    Job("late", works("late", 9.0), late=True),
    *(Job(f"job {i}", works(f"job {i}", float(i))) for i in range(4)),
    Job("killed", works("killed", 0.0, lambda: os.kill(os.getpid(), signal.SIGKILL))),
    Job("terminated", works("terminated", 0.0, lambda: os.kill(os.getpid(), signal.SIGTERM))),
    Job("raises", works("raises", 0.0, fails)),
    Job("leaves", works("leaves", 0.0, lambda: sys.exit(3))),
], ended, 9)
note("over", "pool")
"""
)
WAITING = (
    HEAD
    + """
def work():
    note("begin", "job")
    try:
        while True:
            time.sleep(0.02)
    except KeyboardInterrupt:
        note("asked", "job")
        raise

try:
    Pool(n_jobs=2, max_hours=float(sys.argv[2])).run([Job(f"job {i}", work) for i in range(4)], ended)
except KeyboardInterrupt:
    note("over", "pool")
"""
)


def events(folder, **wanted):
    path = folder / "events"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def start(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=subprocess.STDOUT, text=True, preexec_fn=as_in_a_terminal
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def as_in_a_terminal():
    """What a shell starts in the background ignores Ctrl-C, under nohup SIGHUP too, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    with start(EVERYTHING, folder) as process:
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    return folder, output


def test_values_come_back_and_deaths_have_reasons(everything):
    folder, _ = everything
    found = {row["name"]: (row["value"], row["reason"]) for row in events(folder, event="ended")}
    again = "the same command goes on with it"
    assert found == {
        **{f"job {i}": (float(i), "") for i in range(4)},
        "late": (9.0, ""),
        "killed": (None, f"killed by SIGKILL, perhaps for want of memory; {again}"),
        "terminated": (None, f"interrupted by a signal; {again}"),
        "raises": (None, "its process ended with exit code 1"),
        "leaves": (None, "its process ended with exit code 3"),
    }


def test_each_job_is_a_process_of_its_own_and_at_most_two_run(everything):
    folder, _ = everything
    begun = events(folder, event="begin")
    assert len({row["pid"] for row in begun}) == len(begun) == 9
    running, most = 0, 0
    for row in events(folder):
        running += {"begin": 1, "ended": -1}.get(row["event"], 0)
        most = max(most, running)
    assert most == 2


def test_a_late_job_waits_for_the_others(everything):
    folder, _ = everything
    order = [(row["event"], row["name"]) for row in events(folder)]
    assert order[-4:] == [("begin", "late"), ("end", "late"), ("ended", "late"), ("over", "pool")]


def test_gpus_are_dealt_out(everything):
    folder, _ = everything
    assert {row["gpu"] for row in events(folder, event="begin")} == {"0", "3"}


def test_lines_are_whole_and_say_whose_they_are(everything):
    _, output = everything
    lines = output.splitlines()
    assert lines[0] == f"threads {max(1, len(os.sched_getaffinity(0)) // 2)}"
    assert "[2/9] job 1" in lines
    assert "[2/9] half a line of job 1 and the rest" in lines
    assert "[5/9] killed: killed by SIGKILL, perhaps for want of memory; the same command goes on with it" in lines
    assert any(line.endswith("RuntimeError: deep down") and line.startswith("[7/9] ") for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_each_running_job_once_and_starts_no_other(tmp_path, number):
    with start(WAITING, tmp_path, 1) as process:
        until(lambda: len(events(tmp_path, event="begin")) == 2)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert len(events(tmp_path, event="begin")) == len(events(tmp_path, event="asked")) == 2
    assert [row["reason"] for row in events(tmp_path, event="ended")] == ["interrupted"] * 2
    assert events(tmp_path)[-1]["event"] == "over"


def test_max_hours(tmp_path):
    with start(WAITING, tmp_path, 1 / 3600) as process:
        output = process.communicate(timeout=60)[0]
    assert "max_hours is over: the running jobs finish their step and save" in output
    assert len(events(tmp_path, event="asked")) == 2
    assert events(tmp_path)[-1]["event"] == "over"


def test_when_the_parent_is_killed_its_jobs_are_asked_to_stop(tmp_path):
    with start(WAITING, tmp_path, 1) as process:
        until(lambda: len(events(tmp_path, event="begin")) == 2)
        process.kill()
    until(lambda: len(events(tmp_path, event="asked")) == 2)


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_ctrl_z_stops_all_of_it_and_fg_goes_on(tmp_path):
    with start(WAITING, tmp_path, 1) as process:
        until(lambda: len(events(tmp_path, event="begin")) == 2)
        everyone = [process.pid, *(row["pid"] for row in events(tmp_path, event="begin"))]
        process.send_signal(signal.SIGTSTP)
        until(lambda: {state(pid) for pid in everyone} == {"T"})
        process.send_signal(signal.SIGCONT)
        until(lambda: "T" not in {state(pid) for pid in everyone})
        process.terminate()
        process.communicate(timeout=60)
    assert len(events(tmp_path, event="asked")) == 2


def test_wrong_numbers():
    from mtl.pool import Pool

    for options in ({"n_jobs": 0}, {"jobs_per_gpu": 1.5}, {"threads": True}):
        key, value = next(iter(options.items()))
        with pytest.raises(ValueError, match=f"^{key}={value}: expected a whole number of at least 1.$"):
            Pool(**options)
