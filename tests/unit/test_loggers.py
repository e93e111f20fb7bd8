"""The W&B mirror, on real offline runs that are read back record by record."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from helpers_wandb import Content, finished, run_file

from mtl.loggers import Wandb, best

ROOT = Path(__file__).parents[2]
NAME = "dwa-resnet18-1a2b3c4d-s0"
CONFIG: dict[str, Any] = {
    "seed": 0,
    "study": "first",
    "tasks": ["age", "sick"],
    "names": {"weighting": "dwa", "backbone": "resnet18", "data": "trees"},
    "data": {"synthetic": True, "root": None, "tasks": {"age": {"low": 1, "high": 116}}},
    "weighting": {"method": {"temperature": 2.0}},
}
ROWS: list[dict[str, Any]] = [
    {"epoch": 0, "lr": 0.003, "train/loss/age": 0.9, "weight/age": None, "val/age/mae_years": 21.0, "val/score": 0.1},
    {"epoch": 1, "lr": 0.002, "train/loss/age": 0.4, "weight/age": 1.2, "val/age/mae_years": 9.0, "val/score": 0.5},
    {"epoch": 2, "lr": 0.001, "train/loss/age": 0.5, "weight/age": 0.8, "val/age/mae_years": 11.0, "val/score": 0.4},
]


def known(row: dict[str, Any]) -> dict[str, Any]:
    return {"step": row["epoch"], **{key: value for key, value in row.items() if value is not None}}


def output(process: subprocess.Popen[str]) -> str:
    """All that the process prints; it has 60 seconds, less than wandb would wait by itself."""
    try:
        return process.communicate(timeout=60)[0]
    finally:
        process.kill()


def python(code: str, directory: Path, **environment: str) -> subprocess.Popen[str]:
    """A process of its own, in `directory`, whose home is `directory/home`."""
    (directory / "home").mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=directory,
        env={**kept, "HOME": str(directory / "home"), "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


SCRIPT = f"""
from pathlib import Path
import os, signal, sys, time
from mtl.loggers import Wandb

ROWS = {ROWS!r}
mirror = Wandb(Path("run"), {CONFIG!r}, {NAME!r}, os.environ["MODE"], init_timeout=1.0)
"""


def test_a_run_is_written_as_it_was(tmp_path: Path) -> None:
    # In a process of its own: what it prints, where it writes, and what it takes from the environment can be seen.
    (tmp_path / "run").mkdir()
    code = SCRIPT + (
        "assert mirror.start([]) is None\n"
        "for row in ROWS: mirror.epoch(row)\n"
        "print('a line of ours', flush=True)\n"
        "summary = {'test/age/mae_years': 8.5, 'test/score': None, 'selected_epoch': 1, 'cost/total_s': float('nan')}\n"
        "mirror.finish('done', summary)\n"
        "assert mirror.note is None\n"
    )
    secrets = {"WANDB_API_KEY": "5ecret" * 7, "AWS_SECRET_KEY": "hidden-value"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = python(code, tmp_path, MODE="offline", WANDB_BASE_URL=url, **secrets)
        printed = output(process)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()
    assert (process.returncode, printed) == (0, "a line of ours\n")

    content = finished(tmp_path / "run")
    assert content.config == CONFIG
    assert content.rows == [known(row) for row in ROWS]
    assert content.run.run_id == sha1(f"first{NAME}".encode()).hexdigest()[:16]
    assert (content.run.display_name, content.run.project) == (NAME, "mtl")
    assert (content.run.run_group, content.run.job_type) == ("first", "dwa")
    assert list(content.run.tags) == ["dwa", "resnet18", "trees", "synthetic"]
    assert content.metrics == {
        "epoch": ("", set()),
        "lr": ("epoch", set()),
        "train/loss/age": ("epoch", {"min"}),
        "weight/age": ("epoch", set()),
        "val/age/mae_years": ("epoch", {"min"}),
        "val/score": ("epoch", {"max"}),
    }
    assert content.summary == {
        "epoch": 2,
        "lr": 0.001,
        "train/loss/age": {"min": 0.4},
        "weight/age": 0.8,
        "val/age/mae_years": {"min": 9.0},
        "val/score": {"max": 0.5},
        "test/age/mae_years": 8.5,
        "selected_epoch": 1,
    }
    assert content.exit_code == 0
    assert content.run.host == ""
    # No console, code, files, packages or figures of the machine.
    assert content.kinds <= {"header", "run", "telemetry", "metric", "summary", "history", "exit"}

    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "run"]
    assert list((tmp_path / "home").iterdir()) == []
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["wandb"]
    assert [path.name[:12] for path in (tmp_path / "run/wandb").iterdir()] == ["offline-run-"]
    for path in (tmp_path / "run").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "run")
        if path.is_file():
            words = ("5ecret", "hidden-value", sys.executable, str(tmp_path))
            assert not any(word.encode() in path.read_bytes() for word in words), path


def test_a_killed_run_is_readable_live_and_replaced_by_its_restart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    code = SCRIPT + "mirror.start([])\nfor row in ROWS[:2]: mirror.epoch(row)\nprint(flush=True)\ntime.sleep(60)\n"
    process = python(code, tmp_path, MODE="offline")
    assert process.stdout is not None
    process.stdout.readline()
    path, deadline = run_file(tmp_path / "run"), time.monotonic() + 12
    while len(Content(path).rows) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert Content(path).rows == [known(row) for row in ROWS[:2]]
    # Neither a folder that was uploaded nor one of another run is ours to remove.
    synced = path.parent.with_name(path.parent.name.replace("offline-run-2", "offline-run-1"))
    shutil.copytree(path.parent, synced)
    (synced / f"{path.name}.synced").touch()
    other = path.parent.with_name("offline-run-20260101_000000-0123456789abcdef")
    other.mkdir()

    mirror = Wandb(tmp_path / "run", CONFIG, NAME, "offline")
    assert mirror.start(ROWS[:2]) is None
    mirror.epoch(ROWS[2])
    mirror.finish("interrupted", {})
    assert not path.exists()
    assert synced.is_dir()
    assert other.is_dir()
    shutil.rmtree(synced)
    content = finished(tmp_path / "run")
    assert content.rows == [known(row) for row in ROWS]
    assert content.exit_code == 1


def test_an_unfinished_run_does_not_swallow_the_next(tmp_path: Path) -> None:
    first = Wandb(tmp_path / "a", CONFIG, "first-run", "offline")
    assert first.start(ROWS[:1]) is None
    second = Wandb(tmp_path / "b", CONFIG, "second-run", "offline")
    assert second.start([]) is None
    second.epoch(ROWS[1])
    second.finish("done", {})
    left, right = finished(tmp_path / "a"), finished(tmp_path / "b")
    assert (left.run.display_name, left.rows, left.exit_code) == ("first-run", [known(ROWS[0])], 1)
    assert (right.run.display_name, right.rows, right.exit_code) == ("second-run", [known(ROWS[1])], 0)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "no API key is configured"),
        ({"WANDB_API_KEY": "5ecret0" * 6, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "Timed out"),
    ],
)
def test_without_key_or_host_training_goes_on(tmp_path: Path, environment: dict[str, str], reason: str) -> None:
    (tmp_path / "run").mkdir()
    code = SCRIPT + (
        "note = mirror.start(ROWS[:1])\n"
        "mirror.epoch(ROWS[1])\n"
        "mirror.finish('done', {'selected_epoch': 1})\n"
        "assert mirror.note == note\n"
        "print(note)\n"
    )
    process = python(code, tmp_path, MODE="online", **environment)
    printed = output(process)
    assert process.returncode == 0, printed
    assert printed.startswith(f"wandb: {reason}")
    assert printed.count("\n") == 1
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or b"5ecret" not in path.read_bytes(), path


def test_the_death_of_its_service_process_silences_the_mirror(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    code = SCRIPT + (
        "mirror.start([])\n"
        "children = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()\n"
        "os.kill(int(children[0]), signal.SIGKILL)\n"
        "deadline = time.monotonic() + 10\n"
        "while mirror.note is None and time.monotonic() < deadline: mirror.epoch(ROWS[0]); time.sleep(0.1)\n"
        "mirror.finish('done', {})\n"
        "print(mirror.note)\n"
    )
    process = python(code, tmp_path, MODE="offline")
    printed = output(process)
    assert process.returncode == 0, printed
    assert printed.startswith("wandb: ")


def test_disabled_writes_nothing_and_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    code = SCRIPT + (
        "note = mirror.start(ROWS[:1])\n"
        "mirror.epoch(ROWS[1])\n"
        "mirror.finish('done', {})\n"
        "print(note, 'wandb' in sys.modules)\n"
    )
    assert output(python(code, tmp_path, MODE="disabled")) == "None False\n"
    assert list((tmp_path / "run").iterdir()) == []


def test_a_wrong_mode_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 'dryrun'"):
        Wandb(tmp_path, CONFIG, NAME, "dryrun")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("val/score", "max"),
        ("val/sick/balanced_accuracy", "max"),
        ("train/sick/f1_macro", "max"),
        ("val/age/rmse_log", "min"),
        ("val/loss/sick", "min"),
        ("weight/age", None),
        ("conflict/cos/age/sick", None),
    ],
)
def test_best(key: str, expected: str | None) -> None:
    assert best(key) == expected
