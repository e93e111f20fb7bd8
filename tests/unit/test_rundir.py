"""The run directory: whole files or none, null for what is undefined, and whose run it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mtl.rundir import DEAD_AFTER, RunDir, describe


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "study" / "sum-resnet18-0123abcd-s0")
    run.begin()
    return run


def names(run):
    return sorted(path.name for path in run.path.iterdir())


def write_half(run, name):
    with run.replacing(name) as path:
        path.write_text("half")
        raise RuntimeError("half way")


def test_a_failing_writer_leaves_the_old_file(run):
    run.write("metrics.json", "old")
    with pytest.raises(RuntimeError, match="half way"):
        write_half(run, "metrics.json")
    assert (run.path / "metrics.json").read_text() == "old"
    assert names(run) == ["metrics.json", "status.json"]


def test_a_failing_first_writer_leaves_nothing(run):
    with pytest.raises(RuntimeError, match="half way"):
        write_half(run, "best.pt")
    with pytest.raises(RuntimeError, match="before"), run.replacing("last.pt"):
        raise RuntimeError("before")
    assert names(run) == ["status.json"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(run):
    run.write("history.jsonl", "old")
    with run.replacing("history.jsonl") as path:
        path.write_text("new")
        assert (run.path / "history.jsonl").read_text() == "old"
        assert path.parent == run.path  # a rename across file systems would not be one
    assert (run.path / "history.jsonl").read_text() == "new"


def test_a_killed_writer_leaves_the_old_file(run):
    """A process that dies in the middle of a write."""
    run.write_json("metrics.json", {"a": 1})
    code = (
        "import os, sys; from pathlib import Path; from mtl.rundir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).replacing('metrics.json') as path:\n"
        "    path.write_text('{'); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(run.path)], check=False)
    assert ended.returncode == -9
    assert run.read("metrics.json") == {"a": 1}


def test_undefined_is_null(run):
    content = {
        "a": float("nan"),
        "b": [float("inf"), (1.5, float("-inf"))],
        "c": {"d": None, "e": 0.0, "f": "nan"},
        "g": True,
    }
    wanted = {"a": None, "b": [None, [1.5, None]], "c": {"d": None, "e": 0.0, "f": "nan"}, "g": True}
    run.write_json("metrics.json", content)
    assert json.loads((run.path / "metrics.json").read_text()) == wanted
    run.append("history.jsonl", {"epoch": 0, "weight/age": float("nan")})
    assert (run.path / "history.jsonl").read_text() == '{"epoch": 0, "weight/age": null}\n'


def test_rows(run):
    assert run.rows("history.jsonl") == []
    rows = [{"epoch": epoch, "lr": 0.1 * epoch} for epoch in range(3)]
    for row in rows:
        run.append("history.jsonl", row)
    assert run.rows("history.jsonl") == rows
    run.keep("history.jsonl", rows[:1])
    assert run.rows("history.jsonl") == rows[:1]
    run.keep("history.jsonl", [])
    assert run.rows("history.jsonl") == []


def test_numbers_come_back_to_the_bit(run):
    row = {"epoch": 0, "x": 0.1 + 0.2, "y": 1e-300}
    run.append("history.jsonl", row)
    assert run.rows("history.jsonl") == [row]


@pytest.mark.parametrize("content", [None, "", "{", "\x00"])
def test_a_damaged_json_file_is_none(run, content):
    if content is not None:
        (run.path / "x.json").write_text(content)
    assert run.read("x.json") is None


def test_status_from_begin_to_done(run):
    begun = run.status()
    assert begun["status"] == "running"
    assert (begun["host"], begun["pid"]) == (socket.gethostname(), os.getpid())
    assert begun["started"].endswith("+00:00")
    run.set_status(epoch=2, epochs=5)
    assert run.status()["epoch"] == 2
    run.end("done")
    ended = run.status()
    assert ended["status"] == "done"
    assert ended["ended"] >= ended["started"]
    assert ended["epoch"] == 2
    assert "error" not in ended


def test_failure_is_described(run):
    try:
        raise KeyError("x")
    except KeyError as error:
        run.end("failed", error)
    status = run.status()
    assert status["status"] == "failed"
    assert status["error"] == "KeyError: 'x'"
    assert "test_failure_is_described" in status["traceback"]


def test_describe():
    assert describe(ValueError("seed=-1: no.\nmore")) == "seed=-1: no."
    assert describe(RuntimeError("deep\nmore")) == "RuntimeError: deep"
    assert describe(AssertionError()).startswith("AssertionError")
    assert describe(UnicodeError("odd")).startswith("UnicodeError")


def test_a_repeated_run_forgets_the_failure(run):
    run.end("failed", ValueError("no"))
    again = RunDir(run.path)
    again.begin(overrides=["seed=1"])
    assert again.status()["status"] == "running"
    assert again.status()["overrides"] == ["seed=1"]
    assert not {"error", "traceback", "ended"} & again.status().keys()


def test_own_process_is_no_other_owner(run):
    assert run.owner() is None


def test_living_owner(run):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        run.set_status(pid=other.pid)
        assert run.owner() == f"process {other.pid}"
        run.set_status(host="elsewhere")
        assert run.owner() == f"process {other.pid} on elsewhere"
        run.set_status(host=socket.gethostname(), status="done")
        assert run.owner() is None
        other.kill()


def test_a_process_without_a_heartbeat_is_no_owner(run):
    """The number may be another process's by now, and of another machine nothing else is known."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        for host in (socket.gethostname(), "elsewhere"):
            run.set_status(pid=other.pid, host=host)
            assert run.owner()
            for age, owned in ((DEAD_AFTER - 10, True), (DEAD_AFTER + 10, False)):
                beat = datetime.now(UTC) - timedelta(seconds=age)
                run.write_json("status.json", run.status() | {"heartbeat": beat.isoformat(timespec="seconds")})
                assert bool(run.owner()) == owned
        other.kill()


def test_the_heart_beats_until_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("mtl.rundir.BEAT_EVERY", 0.05)
    run = RunDir(tmp_path / "run")
    run.begin()
    stamps = set()
    deadline = time.monotonic() + 30
    while len(stamps) < 5 and time.monotonic() < deadline:
        stamps.add((tmp_path / "run" / "status.json").stat().st_mtime_ns)
        time.sleep(0.01)
    assert len(stamps) == 5
    assert abs((datetime.fromisoformat(run.status()["heartbeat"]) - datetime.now(UTC)).total_seconds()) < 30
    run.end("done")
    last = (tmp_path / "run" / "status.json").stat().st_mtime_ns
    time.sleep(0.5)
    assert (tmp_path / "run" / "status.json").stat().st_mtime_ns == last
    assert run.status()["status"] == "done"


def test_a_traceback_names_no_place_of_this_machine(run):
    """Neither where the code lies nor where Python does; the module and the line are there."""
    try:
        json.loads("{")
    except ValueError as error:
        run.end("failed", error)
    text = run.status()["traceback"]
    assert 'File "json/decoder.py", line' in text
    assert "test_rundir.py" in text
    for place in (str(Path(__file__).parents[2]), sys.prefix, sys.base_prefix, str(Path.home())):
        assert f"{place}/" not in text, place


def test_dead_owner(run):
    other = subprocess.Popen([sys.executable, "-c", ""])
    other.wait()
    run.set_status(pid=other.pid)
    assert run.owner() is None


@pytest.mark.parametrize("status", [{}, {"status": "running"}, {"status": "running", "host": socket.gethostname()}])
def test_a_status_without_a_process_has_no_owner(run, status):
    run.write_json("status.json", status)
    assert run.owner() is None


CONFIG = {"seed": 0, "study": "a", "data": {"image_size": 32, "root": "/a"}, "tasks": ["age"], "train": {"lr": 1e-5}}


def test_same_run(run):
    run.check_same(CONFIG)  # nothing stored yet
    run.write_config(CONFIG)
    run.check_same(CONFIG)
    run.check_same({**CONFIG, "study": "b", "data": {"image_size": 32, "root": "/elsewhere"}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"image_size": 64}}, r"its data\.image_size is 32, this one's is 64; move that folder away"),
        ({"tasks": ["sick"]}, r"its tasks is \['age'\], this one's is \['sick'\]"),
        ({"extra": 1}, r"its extra is None, this one's is 1"),
        ({"train": {"lr": 1.1e-5}}, r"its train\.lr is 1e-05"),
    ],
)
def test_another_run(run, change, said):
    run.write_config(CONFIG)
    with pytest.raises(ValueError, match=said):
        run.check_same({**CONFIG, **change})


def test_config_goes_there_and_back(run):
    """Words that YAML would read otherwise, and characters."""
    import yaml

    config = {
        "a": "yes",
        "b": "1e-3",
        "c": 1e-300,
        "d": None,
        "e": ["Bäume", True, 3],
        "f": {"g": "0x1", "h": float("inf")},
    }
    run.write_config(config)
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == config


def test_remove(run):
    run.write("x", "x")
    run.remove("x")
    run.remove("x")
    assert names(run) == ["status.json"]
