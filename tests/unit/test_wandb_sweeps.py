"""sweeps/wandb: W&B's own schema, our own overrides, and a run as W&B's agent starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha1
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from helpers_wandb import Content
from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from mtl.config import compose

ROOT = Path(__file__).parents[2]
SWEEPS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "sweeps" / "wandb").glob("*.yaml"))}
SCHEMA = json.loads((Path(__file__).parent / "wandb_sweep_schema.json").read_text())


def violations(sweep: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(sweep)]


def values(spec: dict[str, Any]) -> list[Any]:
    return spec.get("values") or ([spec["value"]] if "value" in spec else [spec["min"], spec["max"]])


def test_there_are_sweeps():
    assert {"seeds", "rates", "weights"} <= set(SWEEPS)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_fits_the_schema_of_wandb(name):
    assert violations(SWEEPS[name]) == []
    _validate_config_and_fill_distribution(SWEEPS[name])
    assert SWEEPS[name]["metric"] == {"name": "val/score", "goal": "maximize"}


def test_the_schema_refuses_what_is_none():
    sweep = SWEEPS["rates"]
    assert violations(sweep | {"parametres": {}})
    assert violations(sweep | {"method": "guess"})
    assert violations(sweep | {"parameters": sweep["parameters"] | {"seed": {"values": 3}}})
    assert violations(sweep | {"parameters": sweep["parameters"] | {"optimizer.lr": {"distribution": "log", "min": 1}}})


@pytest.mark.parametrize("name", SWEEPS)
def test_what_an_agent_sends_are_overrides_of_run(name, monkeypatch):
    """Every value of every parameter, beside the first of the others."""
    monkeypatch.setenv("WANDB_SWEEP_ID", "a1b2c3")
    sweep = SWEEPS[name]
    assert sweep["program"] == "run.py"
    assert sweep["command"][:4] == ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
    own = create_sweep_command([*sweep["command"][4:]])
    first = {key: values(spec)[0] for key, spec in sweep["parameters"].items()}
    for key, spec in sweep["parameters"].items():
        for value in values(spec):
            arguments = {key: {"value": value} for key, value in (first | {key: value}).items()}
            config = compose([*create_sweep_command_args({"args": arguments})["args_no_hyphens"], *own])
            assert config["study"] == "sweep-a1b2c3"
            assert config["names"]["weighting"] == (value if key == "weighting" else first["weighting"])


AGENT = f"""
import json, os, queue, sys
sys.path.insert(0, {str(ROOT)!r})
from wandb.wandb_agent import Agent

sweep, runs, command, args = json.loads(sys.argv[1])
os.environ["WANDB_SWEEP_ID"] = sweep
agent = Agent(None, queue.Queue(), sweep_id=sweep)
agent._sweep_command = command
for run in runs:
    # What the agent does with the server's answer; it starts the command and gives it id and arguments.
    agent._command_run({{"run_id": run, "program": {str(ROOT / "run.py")!r}, "args": args}})
    print("exit code", agent._run_processes[run].wait())
"""


def agent(folder: Path, cache: Path, sweep: str, runs: list[str], command: list[str], **more: Any) -> str:
    """What wandb's agent prints that runs `runs` of one sweep in `folder`, all with the same parameters."""
    parameters = {
        "weighting": "dwa",
        "seed": 3,
        "data.draw.num": 120,
        "data.image_size": 16,
        "backbone": "mobilenet",
        "train.epochs": 2,
        "train.batch_size": 16,
        "train.threads": 1,
        "train.device": "cpu",
        "train.amp": False,
        "data.cache": str(cache),
        **more,
    }
    arguments = {key: {"value": value} for key, value in parameters.items()}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    python = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_WAIT_POLICY": "passive"}
    process = subprocess.run(
        [sys.executable, "-c", AGENT, json.dumps([sweep, runs, command, arguments])],
        cwd=folder,
        env=kept | python | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout + process.stderr


def contents(folder: Path) -> dict[str, Content]:
    """W&B id -> what the offline run holds, of all runs under `folder`."""
    found = [Content(path) for path in folder.glob("runs/*/*/wandb/offline-run-*/run-*.wandb")]
    return {content.run.run_id: content for content in found}


@pytest.fixture(scope="module")
def swept(tmp_path_factory, cache):
    """Two sweeps with the same parameters, by the command of a file; each run under the id that its server gave."""
    folder = tmp_path_factory.mktemp("swept")
    command = SWEEPS["seeds"]["command"]
    printed = [agent(folder, cache, sweep, [f"{sweep}-run"], command) for sweep in ("first", "second")]
    return folder, printed


def test_two_sweeps_neither_merge_nor_overwrite_their_runs(swept):
    folder, printed = swept
    for text in printed:
        assert "exit code 0" in text
        assert "done before" not in text
    runs = sorted(path.parent for path in folder.glob("runs/*/*/status.json"))
    assert [run.parent.name for run in runs] == ["sweep-first", "sweep-second"]
    assert len({run.name for run in runs}) == 1
    assert runs[0].name.startswith("dwa-mobilenet-")
    assert runs[0].name.endswith("-s3")
    assert runs[0].joinpath("history.jsonl").read_bytes() == runs[1].joinpath("history.jsonl").read_bytes()


def test_a_run_reports_to_the_sweep_under_the_id_that_its_server_gave(swept):
    folder, _ = swept
    found = contents(folder)
    assert sorted(found) == ["first-run", "second-run"]
    for sweep in ("first", "second"):
        content = found[f"{sweep}-run"]
        (run,) = folder.glob(f"runs/sweep-{sweep}/*")
        history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        assert content.run.sweep_id == sweep
        assert content.run.display_name == run.name
        assert content.exit_code == 0
        # What the sweep's search reads: the metric, by its name, in the history.
        assert [row["val/score"] for row in content.rows] == [row["val/score"] for row in history]
        assert content.config["optimizer"]["lr"] == 0.003
        assert content.config["train.amp"] is False


def test_the_same_parameters_again_in_one_sweep_leave_what_is_there(swept, cache):
    """Another run of the server's, with parameters that are done: nothing is trained, merged or overwritten."""
    folder, _ = swept
    before = {path: path.read_bytes() for path in folder.glob("runs/sweep-first/**/*") if path.is_file()}
    assert any(path.suffix == ".wandb" for path in before)
    printed = agent(folder, cache, "first", ["another-run"], SWEEPS["seeds"]["command"])
    assert "exit code 0" in printed
    assert "done before, skipped" in printed
    assert {path: path.read_bytes() for path in before} == before


START = """
import os
from pathlib import Path
from mtl.loggers import Wandb

config = {"study": "swept", "tasks": ["age"], "data": {"synthetic": True}}
config["names"] = {"weighting": "dwa", "backbone": "resnet18", "data": "trees"}
mirror = Wandb(Path("run"), config, "dwa-s0", "offline")
assert mirror.start([]) is None, mirror.note
print(mirror.id, flush=True)
os._exit(0)  # as a process that is killed: without an end
"""


def test_a_run_that_an_agent_starts_again_replaces_its_copy_and_no_other(tmp_path):
    """As outside of a sweep, by the id that the server gave: twice the same one, then another, then without a sweep."""
    (tmp_path / "run").mkdir()
    given = {"WANDB_SWEEP_ID": "a1b2c3"}
    printed = []
    for identity in (
        given | {"WANDB_RUN_ID": "first"},
        given | {"WANDB_RUN_ID": "first"},
        given | {"WANDB_RUN_ID": "second"},
        {"WANDB_RUN_ID": "a leftover"},
    ):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
        process = subprocess.run(
            [sys.executable, "-c", START],
            cwd=tmp_path,
            env=kept | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **identity},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == 0, process.stderr
        printed.append(process.stdout.strip())
    assert printed[:3] == ["first", "first", "second"]
    assert printed[3] == sha1(b"sweptdwa-s0").hexdigest()[:16]
    folders = [path.name.rpartition("-")[2] for path in (tmp_path / "run" / "wandb").glob("offline-run-*")]
    assert sorted(folders) == sorted(["first", "second", printed[3]])
