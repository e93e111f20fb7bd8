"""Several jobs at a time, one child process each, forked from this process: what it has imported, they need not.

A job that dies, of memory or of a signal, dies alone. With one job at a time it has the terminal; with several, a line
per running job and a bar of them all, and what jobs say on standard error above.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from mtl.board import Board, Lines

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_EVERY = 0.25  # seconds


@dataclass(frozen=True)
class Job:
    """What one child process does.

    Attributes:
        title: what the display calls it.
        work: called in the child; its number comes back.
        late: starts once every job that is not late has ended.
        key: for whoever made the job.
    """

    title: str
    work: Callable[[], float]
    late: bool = False
    key: Any = None


@dataclass(frozen=True)
class Ended:
    """How a job ended: with a `value`, or (None) before it had one, for the `reason`."""

    value: float | None
    reason: str = ""


@dataclass
class _Running:
    job: Job
    number: int
    gpu: str | None
    process: BaseProcess
    result: Connection
    lines: Lines | None


class Pool:
    """Runs jobs, at most `n_jobs` at a time.

    Args:
        n_jobs: None: one, or `jobs_per_gpu` for each GPU.
        jobs_per_gpu: jobs that share a GPU, if there are GPUs; they are dealt out in turn.
        threads: of each job; None: the processors divided by the jobs.
        max_hours: after these the running jobs are asked to save and to stop, as by Ctrl-C.

    Raises:
        ValueError: a value that is none.
    """

    def __init__(
        self,
        n_jobs: int | None = None,
        jobs_per_gpu: int = 1,
        threads: int | None = None,
        max_hours: float | None = None,
    ) -> None:
        check_counts(n_jobs=n_jobs, jobs_per_gpu=jobs_per_gpu, threads=threads)
        gpus = _gpus()
        number = n_jobs or max(1, len(gpus) * jobs_per_gpu)
        self.slots: list[str | None] = [gpus[i % len(gpus)] if gpus else None for i in range(number)]
        self.threads = threads or max(1, len(os.sched_getaffinity(0)) // number)
        self._until = math.inf if max_hours is None else time.monotonic() + 3600 * max_hours
        self._running: list[_Running] = []
        self._stopping = 0
        self._number = 0

    def run(self, jobs: Iterable[Job], ended: Callable[[Job, Ended], None], total: int | None = None) -> None:
        """Run all jobs; `ended` is called here as each ends, and the next job is asked for when a slot is free.

        `total` is the number of jobs, for the display.

        Raises:
            KeyboardInterrupt: Ctrl-C, SIGTERM, SIGHUP or `max_hours`, once the running jobs have saved and stopped.
        """
        waiting, late = iter(jobs), list[Job]()
        with self._signals(), Board(total, len(self.slots)) as board:
            while True:
                self._fill(waiting, late, board)
                if not self._running:
                    break
                sources = [source for one in self._running if one.lines for source in one.lines.sources]
                wait([*(one.process.sentinel for one in self._running), *sources], _LOOK_EVERY)
                for one in self._running:
                    if one.lines:
                        board.show(one.number, one.job.title, one.lines)
                for one in [one for one in self._running if not one.process.is_alive()]:
                    self._running.remove(one)
                    end = _end(one, bool(self._stopping))
                    board.end(one.number, one.job.title, one.lines, end.reason)
                    ended(one.job, end)
                board.draw()
                if time.monotonic() > self._until and not self._stopping:
                    board.say("max_hours is over: the running jobs finish their step and save")
                    self._stop(signal.SIGTERM)
        if self._stopping:
            raise KeyboardInterrupt

    def _fill(self, waiting: Iterator[Job], late: list[Job], board: Board) -> None:
        """Start jobs while slots are free."""
        while len(self._running) < len(self.slots) and not self._stopping:
            job = next(waiting, None)
            while job is not None and job.late:
                late.append(job)
                job = next(waiting, None)
            if job is None:
                if not late or any(not one.job.late for one in self._running):
                    return
                job = late.pop(0)
            self._start(job, board)

    def _start(self, job: Job, board: Board) -> None:
        busy = [one.gpu for one in self._running]
        gpu = min(self.slots, key=lambda slot: busy.count(slot))
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        lines = Lines() if len(self.slots) > 1 else None
        self._number += 1
        process = context.Process(target=_child, args=(job, gpu, sender, lines, os.getpid()))
        # A signal amid a fork waits: for the child to have its own handlers, and for this process to know the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        process.start()
        self._running.append(_Running(job, self._number, gpu, process, receiver, lines))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sender.close()
        if lines:
            lines.keep_reading()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Children are groups of their own, and a signal to this process goes on to each of them, once."""
        before = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGTSTP)}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._pause if number == signal.SIGTSTP else self._ask)
        try:
            yield
        finally:
            for one in self._running:  # only where something of ours has failed
                one.process.terminate()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if len(self.slots) > 1 and not self._stopping:
            with suppress(OSError):
                os.write(2, b"\nfinishing the step of each job, then saving; once more stops at once\n")
        self._stop(signal.Signals(number))

    def _stop(self, number: signal.Signals) -> None:
        self._stopping += 1
        self._send(number)

    def _pause(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: they stop, then this process; it goes on, then they."""
        self._send(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        for one in self._running:
            if one.process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(one.process.pid, number)


def check_counts(**values: int | None) -> None:
    """Refuse what is no whole number of at least 1, nor None.

    Raises:
        ValueError: the first such value, in one sentence.
    """
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}={value}: expected a whole number of at least 1.")


def _child(job: Job, gpu: str | None, result: Connection, lines: Lines | None, parent: int) -> None:
    os.setpgid(0, 0)
    _die_with(parent)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["MTL_POOL"] = "lines" if lines else "alone"  # for what need not be said by every job
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if lines:
            lines.write_from_here()
        result.send(job.work())
    except KeyboardInterrupt:
        sys.exit(130)


def _die_with(parent: int) -> None:
    """On Linux a child is asked to save and stop when its parent has died; elsewhere it finishes its run."""
    if sys.platform.startswith("linux"):
        set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:  # it died before
            sys.exit(130)


def _end(one: _Running, stopping: bool) -> Ended:
    one.process.join()
    code = one.process.exitcode or 0
    value = None
    with one.result, suppress(EOFError):  # it has died without a word
        value = one.result.recv()
    if value is not None:
        return Ended(value)
    if code < 0:
        name = signal.Signals(-code).name
        memory = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return Ended(None, f"killed by {name}{memory}; the same command goes on with it")
    if code == 130:
        return Ended(None, "interrupted" if stopping else "interrupted by a signal; the same command goes on with it")
    return Ended(None, f"its process ended with exit code {code}")


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES would call each GPU; CUDA is not started, which a fork would not survive."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return [name for name in names if name] if torch.cuda.device_count() else []
