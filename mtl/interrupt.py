"""Ctrl-C and the signals that end a process: the first lets the step finish, a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Self

# SIGHUP: the terminal is gone. SIGTERM: `kill`, and what schedulers send some seconds before they kill.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MESSAGE = b"\nfinishing the step, then saving; once more stops at once\n"


class Interrupt:
    """Inside this context `requested` says whether the process has been asked to end.

    A signal that is ignored stays ignored (`nohup`, background shells). Outside the main thread, where Python cannot
    set handlers, nothing changes.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if os.environ.get("MTL_POOL") == "lines":
            return  # its parent has said so for all
        with suppress(OSError):  # whoever read it may be what has died
            os.write(2, _MESSAGE)  # print is not safe in a signal handler
