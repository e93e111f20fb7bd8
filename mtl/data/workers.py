"""Decoding in several processes, fed by one reader; never more than one batch per process in memory."""

from __future__ import annotations

import os
import pickle
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, cast

from mtl.data.decode import Outcome, Task, decode_into

BATCH = 64
# Below this many pictures a worker takes longer to start (about 0.1 s) than it saves.
WORTH_A_WORKER = 500


def decode_all(
    pictures: Iterable[tuple[int, bytes]], num: int, path: Path, size: int, workers: int | None = None
) -> Iterator[list[Outcome]]:
    """Decode `num` pictures into the file at `path` and yield the outcomes in batches, in no particular order.

    Own child processes and no multiprocessing: a script needs no `__main__` guard, nothing is forked under torch's threads
    or imports it again, and the children end by themselves when the parent is killed.
    """
    if workers is None:
        workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 1 + num // WORTH_A_WORKER)
    iterator = iter(pictures)
    batches = iter(lambda: list(islice(iterator, BATCH)), [])
    if workers <= 1:
        file = os.open(path, os.O_WRONLY)
        try:
            for batch in batches:
                yield decode_into(file, size, batch)
        finally:
            os.close(file)
        return
    with _children(workers, path, size) as children, selectors.DefaultSelector() as selector:
        idle = list(children)
        for batch in batches:
            if not idle:
                idle = list(_ready(selector))
                for child in idle:
                    yield _answer(child)
            child = idle.pop()
            _send(child, batch)
            selector.register(_out(child), selectors.EVENT_READ, child)
        while selector.get_map():
            for child in _ready(selector):
                yield _answer(child)


Child = subprocess.Popen[bytes]


@contextmanager
def _children(workers: int, path: Path, size: int) -> Iterator[list[Child]]:
    command = [sys.executable, "-P", "-m", "mtl.data.decode", str(path), str(size)]
    # The children find mtl and Pillow where this process does; in a session of their own a Ctrl-C reaches the parent only.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    children = []
    try:
        for _ in range(workers):
            children.append(
                subprocess.Popen(command, stdin=-1, stdout=-1, env=environment, start_new_session=True)
            )
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _out(child: Child) -> IO[bytes]:
    return cast(IO[bytes], child.stdout)


def _send(child: Child, batch: Task) -> None:
    pipe = cast(IO[bytes], child.stdin)
    pickle.dump(batch, pipe)
    pipe.flush()


def _ready(selector: selectors.BaseSelector) -> Iterator[Child]:
    """The children that have answered, taken from the waiting ones."""
    for key, _ in selector.select():
        selector.unregister(key.fileobj)
        yield key.data


def _answer(child: Child) -> list[Outcome]:
    try:
        answer = pickle.load(_out(child))
    except EOFError:
        raise RuntimeError(f"a decoding process ended with exit code {child.wait()} (killed, or out of memory).") from None
    if isinstance(answer, OSError):
        raise answer
    return cast(list[Outcome], answer)
