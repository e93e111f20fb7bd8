"""One run, from a resolved config to a run directory: build, fit, test once, write."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mtl.build import Loaders, Parts, build_loaders, build_optimization, build_parts, load_data, settle
from mtl.check import check
from mtl.checkpoint import Checkpoints
from mtl.data.pack import Pack
from mtl.display import Display
from mtl.environment import describe_environment, set_threads
from mtl.evaluate import evaluate, trivial
from mtl.identity import flatten, run_name
from mtl.interrupt import Interrupt
from mtl.loggers import Wandb
from mtl.replay import replay
from mtl.results import csv_text, in_words, score_in_words, test_once, timing_row, validation_row, write_cost
from mtl.rundir import RunDir, RunFailed, describe
from mtl.sums import EpochSums
from mtl.train import TrainedEpoch, fit

FAILED = -float("inf")  # what a failed run gives to the sweeper


def run(config: dict[str, Any], overrides: Sequence[str] = (), multirun: bool = False, show_test: bool = True) -> float:
    """Train, test and record the run that `config` (resolved, plain) describes; its best validation score (NaN: none).

    A finished run is skipped, an interrupted one continues. In a multirun a failure is recorded and gives -inf, so
    that the other jobs go on; else it is raised once it is recorded. Without `show_test` the test result is not
    printed: whoever chooses by the validation score should not see it.

    Raises:
        ValueError: a mistake of the user's, in one sentence.
        RunFailed: anything that goes wrong once the run has begun.
    """
    threads = set_threads(config["train"]["threads"])
    replay(config)
    parts, mistake = _try_build(config)
    if mistake and not multirun:
        raise mistake
    if parts:
        settle(config, parts.weighting)
    data = load_data(config)
    config["data"]["fingerprint"] = data.fingerprint
    directory = RunDir(Path(config["runs_dir"]) / config["study"] / run_name(config))
    if config["mode"] != "train":
        return _check(config, parts, mistake, data, directory.path.name, multirun)
    directory.check_same(config)
    if directory.finished():
        print(f"{directory.path.name}: done before, skipped")
        if "WANDB_SWEEP_ID" in os.environ:  # the sweep's server waits for a report under the id that it has given
            wandb = Wandb(directory.path, config, directory.path.name, **config["logger"]["wandb"])
            wandb.start(directory.rows("history.jsonl"))
            wandb.finish("done", {})
        return _score(directory.read("metrics.json"))
    if owner := directory.begin(overrides=list(overrides)):
        print(f"{directory.path.name}: {owner} is training it now, skipped")
        return math.nan
    directory.write_config(config)
    try:
        if parts is None:
            raise mistake or AssertionError
        loaders = build_loaders(config, parts, data)
        metrics = _train_and_test(config, parts, data, loaders, directory, threads)
    except KeyboardInterrupt:
        directory.end("interrupted")
        raise
    except Exception as error:
        directory.end("failed", error)
        sentence = f"{directory.path.name} failed: {describe(error)}"
        if not multirun:
            raise RunFailed(f"{sentence} (traceback in {directory.path / 'status.json'})") from error
        print(sentence, file=sys.stderr)
        return FAILED
    directory.end("done")
    print(f"{directory.path.name}: {in_words(metrics) if show_test else score_in_words(metrics)}")
    return _score(metrics)


def _check(
    config: dict[str, Any], parts: Parts | None, mistake: ValueError | None, data: Pack, name: str, multirun: bool
) -> float:
    """Print what a check of the job finds; NaN, in a multirun -inf if it fails."""
    try:
        if parts is None:
            raise mistake or AssertionError
        torch.manual_seed(config["seed"])
        print(f"{name}: {check(config, parts, build_loaders(config, parts, data)).words}; nothing was written")
    except (ValueError, FloatingPointError) as error:
        if not multirun:
            raise RunFailed(f"{name} fails: {describe(error)}") from error
        print(f"{name} fails: {describe(error)}", file=sys.stderr)
        return FAILED
    return math.nan


def _try_build(config: Mapping[str, Any]) -> tuple[Parts | None, ValueError | None]:
    try:
        return build_parts(config), None
    except ValueError as error:
        return None, error
    except (MemoryError, RuntimeError) as error:
        # torch's own of the GPU is a RuntimeError, and on the CPU it is one with these words
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        first = (str(error).splitlines() or ["no memory left"])[0]
        mistake = ValueError(f"no memory to build the network: {first}; close other programs, or choose a smaller one.")
        mistake.__cause__ = error
        return None, mistake


def _train_and_test(
    config: dict[str, Any], parts: Parts, data: Pack, loaders: Loaders, directory: RunDir, threads: int
) -> dict[str, Any]:
    started = time.perf_counter()
    train, steps = config["train"], len(loaders.train)
    optimizer, schedule = build_optimization(config, parts, steps * train["epochs"])
    torch.manual_seed(config["seed"])  # what methods draw; order and augmentation have generators of their own
    checkpoints = Checkpoints(directory, parts.model, parts.weighting, optimizer)
    progress = checkpoints.load()
    if progress.note:
        print(f"{directory.path.name}: {progress.note}", file=sys.stderr)
        directory.set_status(note=progress.note)
    directory.set_status(epoch=progress.epochs, epochs=train["epochs"])
    _write_start(config, parts, data, directory, threads)
    train_labels = loaders.labels[loaders.train.indices]
    guesses = trivial(parts.tasks, train_labels, loaders.labels[loaders.val.indices])
    wandb = Wandb(directory.path, config, directory.path.name, **config["logger"]["wandb"])
    if note := wandb.start(directory.rows("history.jsonl")):
        print(f"{note}; training goes on without it", file=sys.stderr)
    status: str = "failed"
    summary: dict[str, Any] = {}

    def on_step(epoch: int, sums: EpochSums) -> None:
        display.step()
        if interrupt.requested:
            sums.check(epoch)
            checkpoints.save(epoch, sums.state_dict())
            raise KeyboardInterrupt

    def on_epoch(done: TrainedEpoch) -> None:
        evaluation = evaluate(parts.model, parts.tasks, loaders.val, parts.device, train["amp"])
        row = done.row | validation_row(evaluation, guesses)
        directory.append("history.jsonl", row)
        directory.append("timing.jsonl", timing_row(done, loaders.train.batch_size, parts.device))
        checkpoints.save(done.epoch + 1)
        directory.set_status(epoch=done.epoch + 1, epochs=train["epochs"])
        wandb.epoch(row)
        display.epoch(row, done.seconds)
        if interrupt.requested:
            raise KeyboardInterrupt

    begun = None
    if progress.sums is not None:
        begun = EpochSums(parts.tasks, parts.device)
        begun.load_state_dict(progress.sums)
    done_steps = progress.epochs * steps + (begun.steps if begun else 0)
    try:
        with Interrupt() as interrupt, Display(directory.path.name, train["epochs"], steps, done_steps) as display:
            fit(
                parts.model,
                parts.tasks,
                parts.weighting,
                loaders.train,
                optimizer,
                schedule,
                epochs=range(progress.epochs, train["epochs"]),
                device=parts.device,
                amp=train["amp"],
                clip=train["clip"],
                probe=train["probe"],
                begun=begun,
                on_step=on_step,
                on_epoch=on_epoch,
            )
        metrics = test_once(config, parts, data, loaders, directory)
        cost = write_cost(directory, parts, time.perf_counter() - started)
        summary = {f"test/{key.replace('.', '/')}": value for key, value in flatten(metrics["test"]).items()}
        summary |= {"selected_epoch": metrics["selected_epoch"]} | {f"cost/{key}": value for key, value in cost.items()}
        status = "done"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        wandb.finish(status, summary)
        directory.set_status(wandb=wandb.note or wandb.mode)
    checkpoints.remove(train["keep"])
    return metrics


def _write_start(config: dict[str, Any], parts: Parts, data: Pack, directory: RunDir, threads: int) -> None:
    """Environment and rejected pictures."""
    environment = describe_environment(parts.device, threads)
    split = {"split_seed": config["data"]["split_seed"], "fingerprint": data.fingerprint}
    method = config["weighting"]["method"]["_target_"]
    directory.write_json("env.json", environment | {"data": split, "weighting": method})
    directory.write("rejected.csv", csv_text([("path", "reason"), *data.rejected]))


def _score(metrics: Mapping[str, Any]) -> float:
    value = metrics["val"]["score"]
    return math.nan if value is None else float(value)
