"""CONTRIBUTING's example of an own weighting, put where it says, trains."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(language: str) -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_example_is_two_files_and_works(tmp_path, cache):
    """In a copy of the code: one Python file and one YAML, no edit elsewhere; it is in the catalogue, too."""
    for part in ("mtl", "conf", "sweeps", "hydra_plugins"):
        shutil.copytree(ROOT / part, tmp_path / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", tmp_path)
    (code,) = [block for block in blocks("python") if "class Ranks" in block]
    (options,) = [block for block in blocks("yaml") if "ranks.Ranks" in block]
    (tmp_path / "mtl" / "weighting" / "ranks.py").write_text(code)
    (tmp_path / "conf" / "weighting" / "ranks.yaml").write_text(options)
    words = ["data.draw.num=120", "backbone=mobilenet", "train.batch_size=16", "train.threads=1", "train.epochs=1"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    environment |= {"OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "run.py", "weighting=ranks", "logger=none", f"data.cache={cache}", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (history,) = tmp_path.glob("runs/default/ranks-mobilenet-*/history.jsonl")
    assert '"weight/sum": 6.0' in history.read_text()
    listed = subprocess.run(
        [sys.executable, "-m", "mtl.methods", "--markdown"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "| `ranks` | Rank weights: the largest loss weighs most |" in listed.stdout


def test_the_example_of_a_torchjd_method_is_the_one_we_have():
    (example,) = [block for block in blocks("yaml") if "scalarization.IMTLL" in block]
    ours = (ROOT / "conf" / "weighting" / "imtl_l.yaml").read_text()
    assert "scalarizer: {_target_: torchjd.scalarization.IMTLL, _partial_: true}" in example
    assert "scalarizer: {_target_: torchjd.scalarization.IMTLL, _partial_: true}" in ours
