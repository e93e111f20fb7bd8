"""What a run prints: plain lines in files and pipes, and a bar on a real (pseudo) terminal."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtl import display
from mtl.display import Display, fit, groups, headings, progress_bar
from mtl.screen import clock

ROOT = Path(__file__).parents[2]
TASKS = ["age", "sick", "species"]


def row(epoch: int, tasks: list[str] = TASKS) -> dict[str, Any]:
    """A history row: numbers for all, but no weight for the last task."""
    values: dict[str, Any] = {"epoch": epoch, "lr": 0.003}
    values |= {f"train/loss/{task}": 0.5 + k for k, task in enumerate(tasks)}
    values |= {f"weight/{task}": 1.0 + k for k, task in enumerate(tasks[:-1])} | {f"weight/{tasks[-1]}": None}
    values |= {"weight/sum": 3.0, "val/age/mae_years": 18.3, "val/age/rmse_log": 0.2}
    values |= {f"val/{task}/{metric}": 0.8 for task in tasks[1:] for metric in ("accuracy", "f1_macro")}
    return values | {"val/score": 0.25}


TITLE = "dwa-resnet18-1a2b3c4d-s0"
NARROW = [
    "        -------- loss -------   ------- weight ------",
    "epoch      age   sick species      age   sick species    score     s",
    "  1/2    0.500  1.500   2.500    1.000  2.000       -    0.250   1.2",
    "  2/2    0.500  1.500   2.500    1.000  2.000       -    0.250   1.2",
]
WIDE = [
    "        -------- loss -------   ------- weight ------   ----------- val ------------",
    "epoch      age   sick species      age   sick species   age mae sick acc species acc    score     s  left",
    "  1/2    0.500  1.500   2.500    1.000  2.000       -    18.300    0.800       0.800    0.250   1.2  0:00",
    "  2/2    0.500  1.500   2.500    1.000  2.000       -    18.300    0.800       0.800    0.250   1.2  0:00",
]
# Waits for a line on stdin before and after each epoch, so that a test can look at what is there meanwhile.
SCRIPT = f"""
import sys
from mtl.display import Display
rows = {[row(0), row(1)]!r}
with Display({TITLE!r}, 2, 10) as shown:
    for values in rows:
        for _ in range(5): shown.step()
        sys.stdin.readline()
        for _ in range(5): shown.step()
        shown.epoch(values, 1.23)
        sys.stdin.readline()
"""


def start(code: str, stdout: int, stderr: int | None = None, **environment: str) -> subprocess.Popen[bytes]:
    """A process of its own; its standard input is a pipe."""
    unset = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "MTL_STUDY_JOB", "PYTHONUNBUFFERED")
    kept = {key: value for key, value in os.environ.items() if key not in unset}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment},
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stdout if stderr is None else stderr,
    )


class Terminal:
    """A pseudo-terminal with a process, and what a person would see on it."""

    def __init__(self, code: str, width: int, stderr: int | None = None, **environment: str) -> None:
        self.width, self.raw = width, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.process = start(code, slave, stderr, **environment)
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._master)

    def until(self, condition: str | None) -> list[str]:
        """The screen once the pattern `condition` is found there, or at the end of the process (None).

        What the process writes may come in any pieces: the pattern has to hold the last thing that the caller needs.
        """
        deadline = time.monotonic() + 60
        while condition is None or not re.search(condition, "\n".join(self.screen())):
            assert time.monotonic() < deadline, self.screen()
            if not select.select([self._master], [], [], 1.0)[0]:
                continue
            try:
                self.raw += self._decoder.decode(os.read(self._master, 65536))
            except OSError:  # Linux says so at the end
                assert condition is None, self.screen()
                break
        return self.screen()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def screen(self) -> list[str]:
        """The lines, with cursor movements obeyed and colours left out; none may pass the right edge."""
        lines, at, column = [""], 0, 0
        received = re.sub(r"\x1b[\[?0-9;]*$", "", self.raw)  # the rest of this command has not come yet
        for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", received):
            if token == "\r":
                column = 0
            elif token == "\n":
                at += 1
                lines += [""] * (at + 1 - len(lines))
            elif token.startswith("\x1b["):
                count, kind = int(re.sub(r"\D", "", token) or 1), token[-1]
                assert kind in "AKmhl", token
                at -= count if kind == "A" else 0
                lines[at] = "" if kind == "K" else lines[at]
            else:
                lines[at] = lines[at].ljust(column)[:column] + token + lines[at][column + len(token) :]
                column += len(token)
                assert column <= self.width, (self.width, lines[at])
        return [line.rstrip() for line in lines if line.strip()]


def test_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTL_STUDY_JOB", "3/8")
    with Display(TITLE, 2, 10) as shown:
        shown.note("wandb: no API key")
        for epoch in (0, 1):
            for _ in range(10):
                shown.step()
            shown.epoch(row(epoch), 1.23)
    assert capsys.readouterr().out.splitlines() == [f"{TITLE}  job 3/8", "wandb: no API key", *WIDE]


def test_a_line_is_there_when_its_epoch_is(tmp_path: Path) -> None:
    process = start(SCRIPT, subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    received = b""
    while received.count(b"\n") < 4 and select.select([process.stdout], [], [], 30)[0]:
        received += os.read(process.stdout.fileno(), 65536)
    assert received.decode().splitlines() == [TITLE, *WIDE[:3]]
    assert process.communicate(b"\n\n\n", timeout=60)[0].decode().splitlines() == WIDE[3:]


def test_a_reader_who_leaves_does_not_stop_the_run(tmp_path: Path) -> None:
    code = SCRIPT + f"print('more')\nopen({str(tmp_path / 'end')!r}, 'w').close()\n"
    process = start(code, subprocess.PIPE, subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.write(b"\n" * 4)
    process.stdin.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0
    assert (tmp_path / "end").exists()


def test_letters_that_the_output_lacks() -> None:
    code = f"from mtl.display import Display\nwith Display('r', 1, 1) as shown: shown.epoch({row(0, ['âge'])!r}, 1.0)"
    process = start(code, subprocess.PIPE, PYTHONIOENCODING="ascii")
    printed = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0, printed
    assert "?ge" in printed


def test_on_a_terminal_rows_stay_above_a_bar_that_goes() -> None:
    with Terminal(SCRIPT, 80, MTL_STUDY_JOB="3/8") as terminal:
        title, bar = terminal.until("25 %.* left")
        assert title == f"{TITLE}  job 3/8"
        assert re.fullmatch(r"job 3/8  epoch 1/2  ━+[╸╺]?━+  25 %  \d+:\d\d left", bar)
        terminal.go_on()
        *above, bar = terminal.until(re.escape(NARROW[2]) + "\n.*50 %")
        assert above == [f"{TITLE}  job 3/8", *NARROW[:3]]
        assert bar.startswith("job 3/8  epoch 2/2")
        assert "50 %" in bar
        terminal.go_on()
        terminal.go_on()
        assert terminal.until("100 %")[-1].startswith("job 3/8  epoch 2/2")
        terminal.go_on()
        assert terminal.until(None) == [f"{TITLE}  job 3/8", *NARROW]
        assert terminal.process.wait(60) == 0
        assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")  # the cursor is back


@pytest.mark.parametrize("width", [120, 44, 20])
def test_no_line_passes_the_edge_of_the_terminal(width: int) -> None:
    code = SCRIPT.replace("        sys.stdin.readline()\n", "").replace(
        "for values", "shown.note('a remark [red] of more than twenty letters')\n    for values"
    )
    with Terminal(code, width, MTL_STUDY_JOB="3/8") as terminal:
        lines = terminal.until(None)  # Terminal.screen checks the widths
        assert terminal.process.wait(60) == 0
    assert lines[1].startswith("a remark [red]")
    assert " ".join(lines).count("1/2") == 1
    if width == 120:
        assert lines[2:] == [WIDE[0], *(line.removesuffix("  left").removesuffix("  0:00") for line in WIDE[1:])]


def test_a_terminal_without_cursor_gets_plain_lines() -> None:
    code = SCRIPT.replace("        sys.stdin.readline()\n", "")
    with Terminal(code, 200, TERM="dumb") as terminal:
        assert terminal.until(None) == [TITLE, *WIDE]
        assert "\x1b" not in terminal.raw


def test_an_exception_leaves_the_terminal_as_it_was() -> None:
    code = SCRIPT.replace("shown.epoch(values, 1.23)", "raise KeyError('lost')").replace("sys.stdin.readline()", "pass")
    with Terminal(code, 80) as terminal:
        lines = terminal.until(None)
        assert terminal.process.wait(60) == 1
        assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")
    assert lines[0] == TITLE
    assert lines[-1] == "KeyError: 'lost'"
    assert not any("━" in line for line in lines)


def test_errors_that_are_sent_elsewhere_stay_there() -> None:
    code = SCRIPT.replace("sys.stdin.readline()", "print('a warning', file=sys.stderr)")
    with Terminal(code, 80, stderr=subprocess.PIPE) as terminal:
        assert terminal.until(None) == [TITLE, *NARROW]
        assert terminal.process.stderr is not None
        assert terminal.process.stderr.read() == b"a warning\n" * 4
    with Terminal(code, 80) as terminal:
        assert terminal.until(None).count("a warning") == 4


def test_time_left_after_a_resume_counts_this_process_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("r", 4, 10, done_steps=20) as shown:
        time.sleep(1)
        for _ in range(10):
            shown.step()
        shown.epoch(row(2), 1.0)
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[0] == "3/4"
    assert last[-1] in ("0:01", "0:02")  # the second: a slow machine; counted from epoch 0 it would be 0:00


def test_headings_return_in_a_long_log(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("r", 41, 1) as shown:
        for epoch in range(41):
            shown.epoch(row(epoch), 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert [index for index, line in enumerate(lines) if line.startswith("epoch")] == [2, 44]
    assert len(lines) == 46
    assert lines[-1].split()[-1] == "0:00"  # the bar follows the epochs, even where nobody counted steps


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (None, ["", "loss", "weight", "val", ""]),
        (99, ["", "loss", "weight", "val", ""]),
        (98, ["", "loss", "weight", ""]),
        (67, ["", "weight", ""]),
        (43, ["", ""]),
    ],
)
def test_columns_that_fit(width: int | None, titles: list[str]) -> None:
    found = fit(groups(row(0), left=False), width)
    assert [title for title, _ in found] == titles
    assert width is None or len(headings(found)[1]) <= width


def broken(show: Callable[[int, int], None]) -> None:
    show(1, 4)
    time.sleep(0.3)
    show(2, 4)
    raise OSError("disk full")


def test_progress_bar_in_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_bar("packing") as show:
        pass
    assert capsys.readouterr().out == ""
    with progress_bar("packing") as show:
        for done in range(3000):
            show(done + 1, 3000)
    assert re.fullmatch(r"packing: 3,000 in \d+\.\d s\n", capsys.readouterr().out)
    monkeypatch.setattr(display, "PLAIN_EVERY", 0.2)
    with pytest.raises(OSError, match="disk"), progress_bar("packing") as show:
        broken(show)
    assert capsys.readouterr().out == "packing: 2 of 4, 0:00 left\n"


def test_progress_bar_on_a_terminal() -> None:
    code = (
        "import sys\nfrom mtl.display import progress_bar\n"
        "with progress_bar('packing') as show: show(0, 0); show(1, 4); sys.stdin.readline(); show(4, 4)\n"
    )
    with Terminal(code, 60) as terminal:
        (bar,) = terminal.until("25 %.* left")
        assert re.fullmatch(r"packing  ━+[╸╺]?━+  25 %  \d+:\d\d left", bar)
        terminal.go_on()
        (line,) = terminal.until(None)
        assert re.fullmatch(r"packing: 4 in \d+\.\d s", line)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (7384, "2:03:04")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
