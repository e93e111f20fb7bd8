"""A user's mistake is answered by one sentence that names the value and the way out, and leaves nothing behind."""

from __future__ import annotations

import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

ROOT = Path(__file__).parents[2]
GROUPS = sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir())


@pytest.fixture
def command(monkeypatch, capsys, tmp_path, cache):
    """Runs `python run.py ...` in this process; gives exit code and standard error."""
    monkeypatch.chdir(tmp_path)
    on_term = signal.getsignal(signal.SIGTERM)

    def call(*overrides: str) -> tuple[int, str]:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [str(ROOT / "run.py"), *overrides, f"data.cache={cache}"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        return int(ended.value.code or 0), capsys.readouterr().err

    yield call
    signal.signal(signal.SIGTERM, on_term)


def one_sentence(answer: tuple[int, str]) -> str:
    code, stderr = answer
    assert code == 2
    assert stderr.endswith(".\n")
    assert stderr.count("\n") == 1, stderr
    return stderr


def test_the_groups_are_found():
    assert {"data", "weighting", "backbone", "head", "sweep", "experiment"} <= set(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("mode", ["run", "multirun"])
def test_a_wrong_name_lists_the_right_ones(command, group, mode):
    sentence = one_sentence(command(*(["-m"] if mode == "multirun" else []), f"{group}=nope"))
    assert sentence.startswith(f"{group}=nope: there is no such {group};")
    for path in (ROOT / "conf" / group).glob("[!_]*.yaml"):
        assert path.stem in sentence
    assert "_base" not in sentence


MISTAKES = {
    "trian.epochs=3": ["trian", "did you mean train"],
    "train.epoch=3": ["train.epoch", "did you mean epochs"],
    "weighting.method.temperature=1": ["weighting.method.temperature", "choice("],
    "train.epochs=0": ["train.epochs=0", "at least 1"],
    "head.hidden=10000000000": ["no memory to build the network"],
    "hydra.launcher.n_jobs=two": ["hydra.launcher.n_jobs=two", "Integer"],
    "train.epochs=many": ["train.epochs=many", "whole number"],
    "train.batch_size=1": ["train.batch_size=1", "at least 2"],
    "train.device=abacus": ["train.device=abacus", "cpu"],
    "train.device=cuda:99": ["train.device=cuda:99", "cpu"],
    "train.keep=all": ["train.keep=all", "best, last, none"],
    "optimizer.lr=-1": ["optimizer.lr=-1"],
    "optimizer.lr=nan": ["optimizer.lr=nan"],
    "tasks=[shoe_size]": ["shoe_size", "age, sick, species"],
    "tasks=[]": ["tasks=[]", "age, sick, species"],
    "tasks=[age,age]": ["age,age", "twice"],
    "age_target.loss=huber": ["age_target.loss=huber", "l1, mse, smooth_l1, nll"],
    "age_target.beta=0": ["age_target.beta=0", "at least"],
    "label_smoothing=1": ["label_smoothing=1", "at most 0.99"],
    "head.binary_outputs=3": ["head.binary_outputs=3", "1 (one logit)"],
    "data.partial_labels=guess": ["data.partial_labels=guess", "skip, mask"],
    "data.noise.age=-1": ["data.noise.age=-1", "years"],
    "+data.noise.shoe=3": ["data.noise.shoe", "age, sick, species"],
    "backbone=vit_b_16": ["backbone=vit_b_16", "224 px", "resnet"],
    "backbone=resnet101": ["backbone=resnet101", "write backbone=torchvision backbone.arch=resnet101."],
    "backbone=torchvision backbone.arch=vit_b_16": ["backbone.arch=vit_b_16", "224 px", "resnet"],
    "backbone.arch=resnet19": ["backbone.arch=resnet19", "did you mean resnet"],
    "backbone.stem=tiny": ["backbone.stem=tiny", "imagenet or small"],
    "backbone=convnext_tiny data.image_size=16": ["data.image_size=16", "convnext_tiny", "data.image_size=32 or more"],
    "backbone=densenet121 data.image_size=16": ["data.image_size=16", "densenet121", "backbone.stem=small"],
    "data.missing_rate=1.5": ["data.missing_rate=1.5", "below 1"],
    "data=utkface": ["data=utkface", "data.root=PATH"],
    "study=a/b": ["study=a/b", "runs_dir=PATH"],
    "backbone.weights=nothing.pt": ["backbone.weights=nothing.pt", "no such file"],
    "weighting=sum,dwa": ["weighting=sum,dwa has several values", "-m"],
    "schedule.warmup=2": ["schedule.warmup=2", "at most 0.99"],
    "optimizer.momentum=0.9": ["optimizer.momentum", "optimizer has lr, weight_decay"],
    "+optimizer.momentum=0.9": ["momentum"],
    "weighting=constant weighting.method.weights={shoe:1}": ["weights.shoe=1", "age, sick, species"],
    "weighting=constant weighting.method.weights={age:-2}": ["weights.age=-2", "at least 0"],
    "weighting.method": ["weighting.method"],
    "train.epochs=[": ["train.epochs"],
    "~train.epochs": ["train.epochs is missing", "leave out ~train.epochs"],
    "~data.root": ["data.root"],
    "~weighting": ["weighting is missing", "leave out ~weighting"],
    "~data": ["data"],
    "~tasks": ["tasks=None", "age, sick, species"],
    "~control": ["control.lr is missing"],
    "~logger.wandb.mode": ["logger.wandb.mode"],
    "weighting=cagrad weighting.method.c=abc": ["weighting.method", "wrong type"],
    "head.hidden=abc": ["backbone or head", "wrong type"],
    "weighting=sum weighting@prescale=pcgrad": ["weighting@prescale", "loss-based"],
    "weighting=imtl weighting@prescale=sum": ["weighting@prescale", "scales the losses itself"],
    "weighting@prescale=foo": ["there is no such weighting"],
    "control.heads=none": ["control.heads=none", "raw or weighted"],
    "control.normalize=yes": ["control.normalize", "sum_to_K"],
    "weighting=constant weighting.from_run=nowhere": ["weighting.from_run=nowhere", "config.yaml"],
    "mode=dryrun": ["mode=dryrun", "train, check"],
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_wrong_value(command, override, tmp_path):
    sentence = one_sentence(command("logger=none", *override.split()))
    for words in MISTAKES[override]:
        assert words in sentence
    assert not list(tmp_path.iterdir())


def test_a_wrong_number_of_jobs(command, tmp_path):
    assert "n_jobs=0: expected a whole number of at least 1" in one_sentence(command("-m", "hydra.launcher.n_jobs=0"))
    assert not list(tmp_path.iterdir())


def test_a_wrong_value_in_one_job_stops_the_study_before_the_first(command, tmp_path):
    sentence = one_sentence(command("-m", "logger=none", "train.epochs=1,0"))
    assert "train.epochs=0" in sentence
    assert not list(tmp_path.rglob("status.json"))


def test_wrong_roots(command, tmp_path):
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    empty.mkdir()
    texts.mkdir()
    for number in range(3):
        (texts / f"{number}.txt").write_text("no picture")
    archive = tmp_path / "broken.tar.gz"
    archive.write_bytes(b"no archive at all")
    for root in (tmp_path / "missing", empty, texts, archive):
        sentence = one_sentence(command("data=utkface", f"data.root={root}", "logger=none"))
        assert str(root) in sentence


def test_an_output_that_is_a_file(command, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "taken" in one_sentence(command("runs_dir=taken/runs"))


def test_an_output_that_cannot_be_written(command, tmp_path):
    target = tmp_path / "read_only"
    target.mkdir()
    # Tests may run as root, whom no permission stops: a read-only file system does.
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(target)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting a read-only file system is not permitted here")
    try:
        sentence = one_sentence(command(f"runs_dir={target}/runs"))
    finally:
        subprocess.run(["umount", str(target)], check=True)
    assert str(target) in sentence
