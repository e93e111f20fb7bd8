"""`python run.py ...` as a process of its own, quickly: forked from one that has imported torch, which takes 5 seconds.

Its process number, signals, files, exit code and death are those of any process. Tests of how it starts (what it sets
before torch is imported, mistakes that must be quick) start Python themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "torchvision", "mtl.experiment", "mtl.estimate", "pandas", "optuna"])


class Run:
    """The part of `subprocess.Popen` that tests use.

    `merged`: errors go where the output goes. `module`: `python -m module` instead of `python run.py`.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        merged: bool = False,
        module: str | None = None,
    ) -> None:
        place = Path(tempfile.mkdtemp())
        self._files = [place / "out", place / ("out" if merged else "err")]
        for file in self._files:
            file.touch()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
        variables = kept | {"OMP_WAIT_POLICY": "passive"} | dict(environment or {})
        self._process = _CONTEXT.Process(target=_main, args=(list(words), folder, variables, self._files, module))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("run.py", timeout or 0, self._files[0].read_text())
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to the output and as errors."""
        self.wait(timeout)
        output, errors = (file.read_text() for file in self._files)
        return output, "" if self._files[0] == self._files[1] else errors


def _main(words: list[str], folder: Path, environment: dict[str, str], files: list[Path], module: str | None) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files, start=1):
        with file.open("ab", 0) as stream:
            os.dup2(stream.fileno(), number)
    # What a shell starts in the background ignores Ctrl-C, under nohup SIGHUP too, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = [module or "run.py", *words]
    if module:
        runpy.run_module(module, run_name="__main__")
    else:
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
