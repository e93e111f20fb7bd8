"""A mirror of the run in Weights & Biases. The run's own files are the truth, and W&B never stops a training."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha1
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from mtl.metrics import METRICS

if TYPE_CHECKING:
    from wandb import Run

Mode = Literal["offline", "online", "disabled"]

# Only what the caller hands over is written: no console, code, git state, packages or figures of the machine.
SETTINGS: dict[str, Any] = {
    "console": "off",
    "symlink": False,
    "use_dot_wandb": False,
    "host": "",
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "label_disable": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    # A killed run keeps what was flushed; by default that is nothing for the first 15 seconds.
    "x_transaction_log_flush_interval": 1.0,
    # Seconds to go on uploading after the end (online), where no limit is the default; the file stays.
    "finish_timeout": 30.0,
    "finish_timeout_raises": True,
}


class Wandb:
    """One W&B run in `<directory>/wandb`. At the first failure it falls silent, with the reason in `note`.

    Args:
        directory: The run directory.
        config: The resolved configuration; group, job type and tags are taken from it too.
        name: The run's name. With the study it makes the run's id, so that a resumed run stays one run; the agent of a
            W&B sweep gives an id itself.
        mode: "offline", "online" or "disabled".
        project: W&B project.
        entity: W&B user or team, None for the account's own.
        init_timeout: Seconds to wait for the server (online).
    """

    def __init__(
        self,
        directory: Path,
        config: dict[str, Any],
        name: str,
        mode: str,
        project: str = "mtl",
        entity: str | None = None,
        init_timeout: float = 20.0,
    ) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"the W&B mode must be offline, online or disabled, found '{mode}'; change WANDB_MODE.")
        self.directory, self.config, self.name, self.mode = directory, config, name, cast(Mode, mode)
        self.project, self.entity, self.init_timeout = project, entity, init_timeout
        self.id = sha1(f"{config['study']}{name}".encode()).hexdigest()[:16]
        if "WANDB_SWEEP_ID" in os.environ:
            # The sweep's server has made the run, and init reports to it whatever id, project and entity it is given.
            self.id = os.environ.get("WANDB_RUN_ID", self.id)
        self.note: str | None = None
        self._run: Run | None = None
        self._defined: set[str] = set()

    def start(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        """A note if W&B cannot be used, else None. Its copy starts empty, so the rows of `history` are logged."""
        if self.mode != "disabled":
            self._attempt(lambda: self._open(history))
        return self.note

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log a history row at once, at the step `row["epoch"]`."""
        if self._run is not None:
            self._attempt(lambda: self._log(row))

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Write the flat `summary` and close the run; W&B counts it as failed unless `status` is "done"."""
        if self._run is not None:
            self._attempt(lambda: self._close(status, summary))
        self._run = None
        forget_logs(self.directory)

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever wandb, pydantic or the system raise: training goes on
            self._run = None
            self.note = "wandb: " + (str(error) or type(error).__name__).splitlines()[0]

    def _open(self, history: Sequence[Mapping[str, Any]]) -> None:
        older = list(unsynced(self.directory / "wandb", self.id))
        names = self.config["names"]
        tags = [names["weighting"], names["backbone"], names["data"]]
        tags += ["synthetic"] if self.config["data"]["synthetic"] else []
        tags += ["single-task"] if len(self.config["tasks"]) == 1 else []
        self._defined = set()
        self._run = begin(
            self.directory,
            self.mode,
            self.init_timeout,
            id=self.id,
            name=self.name,
            project=self.project,
            entity=self.entity,
            group=self.config["study"],
            job_type=names["weighting"],
            tags=tags,
            config=self.config,
        )
        for row in history:
            self._log(row)
        for folder in older:
            shutil.rmtree(folder)

    def _log(self, row: Mapping[str, Any]) -> None:
        assert self._run is not None
        values = _defined(row)
        for key in values:
            if key not in self._defined:
                step = None if key == "epoch" else "epoch"
                self._run.define_metric(key, step_metric=step, summary=best(key))
                self._defined.add(key)
        # Without commit, a row that has a step waits for the next one.
        self._run.log(values, step=values["epoch"], commit=True)

    def _close(self, status: str, summary: Mapping[str, Any]) -> None:
        assert self._run is not None
        try:
            self._run.summary.update(_defined(summary))
        finally:
            self._run.finish(exit_code=0 if status == "done" else 1)


def preload(mode: str) -> None:
    """Import what a run needs of wandb, 0.8 s, in a process from which runs are forked."""
    if mode != "disabled":
        with suppress(Exception):  # a run says what is wrong with it
            import wandb.sdk.launch  # noqa: F401  # init imports it too


def begin(directory: Path, mode: Mode, init_timeout: float, **words: Any) -> Run:
    """A W&B run in `<directory>/wandb` that knows nothing of this machine; `words` are those of `wandb.init`."""
    import wandb

    # An earlier run of this process that was never finished: init would hand that one out again.
    if wandb.run is not None:
        wandb.run.finish(exit_code=1)
    # For the whole process and before init: with the mode given to init alone, wandb 0.31 contacts its
    # server in offline mode too (its own telemetry, at exit), and prints where it found the key.
    with _log_in(directory):
        wandb.setup(wandb.Settings(mode=mode, silent=True))
    # init would ask a terminal for the key and wait for the answer.
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise ConnectionError("no API key is configured; run `wandb login`, or leave the mode offline")
    # wandb refuses settings it does not know, and those with an x_ may go with any release.
    settings = {key: value for key, value in SETTINGS.items() if key in wandb.Settings.model_fields}
    return wandb.init(
        mode=mode,
        dir=str(directory.absolute()),  # its service may be another process's, with another working directory
        reinit="finish_previous",
        settings=wandb.Settings(init_timeout=init_timeout, **settings),
        **words,
    )


def forget_logs(directory: Path) -> None:
    """Remove wandb's own logs, which name folders and sockets of this machine, as a run's records should not."""
    for logs in (directory / "wandb").glob("**/logs"):
        shutil.rmtree(logs, ignore_errors=True)


def best(key: str) -> Literal["min", "max"] | None:
    """Which value of a history key is its best; None where the last one is to be shown."""
    if "/loss/" in key:
        return "min"
    if key == "val/score":
        return "max"
    metric = key.rpartition("/")[2]
    return ("max" if METRICS[metric][1] else "min") if metric in METRICS else None


def _defined(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what is undefined."""
    return {k: v for k, v in row.items() if v is not None and not (isinstance(v, float) and not isfinite(v))}


def unsynced(folder: Path, run_id: str) -> Iterator[Path]:
    """The run's offline folders without the file `run-<id>.wandb.synced`, which `wandb sync` leaves."""
    for path in folder.glob("offline-run-*"):
        ours = re.fullmatch(rf"offline-run-\d{{8}}_\d{{6}}-{run_id}(-\d+)?", path.name)
        if ours and not path.is_symlink() and not any(path.glob("*.synced")):
            yield path


@contextmanager
def _log_in(directory: Path) -> Iterator[None]:
    """Lets wandb's service process log to `<directory>/wandb/logs` instead of the home directory."""
    if "WANDB_CACHE_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_CACHE_DIR"] = str(directory.absolute())
    try:
        yield
    finally:
        del os.environ["WANDB_CACHE_DIR"]
