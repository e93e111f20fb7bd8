"""A study that is killed again and again ends as if nothing had happened. Minutes: `pytest -m soak`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 20
COMPARED = ("config.yaml", "rejected.csv", "history.jsonl", "metrics.json", "predictions.csv", "best.pt")


def start(folder: Path, cache: Path, weighting: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    words = [
        *("-m", f"weighting={weighting}", "seed=0,1,2", "train.epochs=20", "train.batch_size=16", "train.threads=1"),
        *("train.device=cpu", "data.draw.num=400", "backbone=mobilenet", "logger=none", f"data.cache={cache}"),
    ]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *words],
            cwd=folder,
            env=environment | {"OMP_WAIT_POLICY": "passive"},
            stdout=log,
            stderr=log,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )


def contents(folder: Path) -> dict[str, bytes]:
    runs = [path for path in (folder / "runs" / "default").iterdir() if path.is_dir()]
    return {f"{run.name}/{name}": (run / name).read_bytes() for run in runs for name in COMPARED}


@pytest.mark.soak
@pytest.mark.parametrize("weighting", ["uncertainty", "dwa", "pcgrad"])
def test_killed_at_random_moments(weighting, tmp_path):
    """Learnt parameters, a history outside of torch's states, draws from the global generator: 20 kills each."""
    undisturbed, killed, cache = tmp_path / "undisturbed", tmp_path / "killed", tmp_path / "cache"
    undisturbed.mkdir()
    killed.mkdir()
    assert start(undisturbed, cache, weighting).wait() == 0
    draw = random.Random(weighting)
    ends = []
    for _ in range(KILLS):
        process = start(killed, cache, weighting)
        kind = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        try:
            process.wait(draw.uniform(2, 9))  # from importing to some epochs of training
        except subprocess.TimeoutExpired:
            process.send_signal(kind)
        ends.append((kind.name, process.wait()))
        time.sleep(0.1)
    assert all(code in (-signal.SIGKILL, 130, -signal.SIGTERM, -signal.SIGINT) for _, code in ends), ends
    assert start(killed, cache, weighting).wait() == 0, (killed / "log").read_text()
    ours, theirs = contents(killed), contents(undisturbed)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if ours[name] != theirs[name]] == []
    print(f"{weighting}: {KILLS} kills ({', '.join(f'{kind} {code}' for kind, code in ends)})")
