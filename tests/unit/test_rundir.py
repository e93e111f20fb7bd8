"""The run directory: whole files or none, null for what is undefined, and whose run it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mtl.rundir import RunDir, TakenOver, describe


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "study" / "sum-resnet18-0123abcd-s0")
    run.begin()
    return run


def names(run):
    """The files of the run, but for the claim that it holds while it runs."""
    return sorted(path.name for path in run.path.iterdir() if path.name != ".claim.1")


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


def test_a_run_whose_process_lives_is_running(run):
    """Another process has claimed it: real, alive, then killed."""
    run.end("interrupted")
    command = (
        "import sys; from pathlib import Path; from mtl.rundir import RunDir; run = RunDir(Path(sys.argv[1]));"
        "run.begin(); run.set_status(epoch=3, epochs=5); print('begun', flush=True); input()"
    )
    words = [sys.executable, "-c", command, str(run.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "begun\n"
        state, text = RunDir(run.path).state()
        assert (state, RunDir(run.path).owner()) == ("running", f"process {other.pid}")
        assert "epoch 3/5, last sign of life 0 s ago" in text or "epoch 3/5, last sign of life 1 s ago" in text
        assert RunDir(run.path).begin() == f"process {other.pid}"
        other.kill()
    assert RunDir(run.path).state() == ("interrupted", "after epoch 3/5; the same command goes on with it")
    assert RunDir(run.path).begin() is None


def test_a_finished_run_is_not_begun_again(run):
    run.write_json("metrics.json", {})
    run.end("done")
    assert RunDir(run.path).begin() == "another process"
    assert run.state() == ("done", "")
    assert names(run) == ["metrics.json", "status.json"]


def test_a_run_that_is_done_without_results_is_begun_again(run):
    run.end("done")
    assert RunDir(run.path).begin() is None


def test_after_a_takeover_nothing_is_written(run):
    """Silent for a minute on another machine, then back: neither a file nor the end is the old process's any more."""
    (run.path / ".claim.2").write_text("{}")
    for write in (lambda: run.write("a", "b"), lambda: run.append("history.jsonl", {"epoch": 0}), run.set_status):
        with pytest.raises(TakenOver, match="another process has taken this run over"):
            write()
    run.end("failed", ValueError("no"))
    assert run.status()["status"] == "running"
    assert names(run) == [".claim.2", "status.json"]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (None, ("unreadable", "status.json is missing or damaged")),
        ({"status": "odd"}, ("unreadable", "status.json has the unknown status 'odd'")),
        ({"status": "failed"}, ("failed", "no error recorded")),
        ({"status": "failed", "error": "no"}, ("failed", "no")),
        ({"status": "running"}, ("interrupted", "before its first epoch ended; the same command goes on with it")),
    ],
)
def test_states(tmp_path, status, wanted):
    run = RunDir(tmp_path)
    if status is not None:
        run.write_json("status.json", status)
    assert run.state() == wanted


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
