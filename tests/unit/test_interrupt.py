"""Signals ask for the end of a run; real ones, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

SCRIPT = """
import sys, time
from mtl.interrupt import Interrupt

try:
    with Interrupt() as interrupt:
        print("ready", flush=True)
        while not interrupt.requested:
            time.sleep(0.01)
        print("finished", flush=True)
        sys.stdin.readline()
except KeyboardInterrupt:
    print("at once", flush=True)
print("after", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def start():
    """Starts the script; what still runs after a minute is killed, so that nobody waits for a line that never comes."""
    started = []

    def call(ignored=None):
        process = begin(ignored)
        timer = threading.Timer(60, process.kill)
        timer.start()
        started.append((process, timer))
        return process

    yield call
    for process, timer in started:
        timer.cancel()
        process.kill()
        process.communicate()


def begin(ignored):
    def prepare():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], text=True, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=prepare
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_asks_and_the_second_stops(start, number):
    process = start()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "finished\n"
    process.send_signal(number)
    assert process.stdout.readline() == "at once\n"
    assert process.stdout.readline() == "after\n"
    process.send_signal(number)  # outside, it does what it did before
    _, errors = process.communicate(timeout=30)
    assert process.returncode in (-number, 1 if number != signal.SIGINT else -number)
    assert errors.startswith("\nfinishing the step, then saving; once more stops at once\n")


def test_what_is_ignored_stays_ignored(start):
    """`nohup python run.py` goes on when its terminal closes."""
    process = start(ignored=signal.SIGHUP)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "finished\n"
    output, errors = process.communicate("\n\n", timeout=30)
    assert output == "after\n"
    assert errors.count("finishing") == 1


def test_outside_the_main_thread_nothing_changes():
    """A notebook server may train in a thread, where Python sets no handlers."""
    code = (
        "import threading\nfrom mtl.interrupt import Interrupt\n"
        "def work():\n    with Interrupt() as interrupt: print(interrupt.requested)\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=30)
    assert (done.stdout, done.stderr) == ("False\n", "")
