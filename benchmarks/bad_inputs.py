"""The table of wrong command lines: each is typed, and its exit code and answer are printed as Markdown.

    python benchmarks/bad_inputs.py > table.md

The commands are those of tests/integration/test_mistakes.py, each in a process of its own (some minutes in all).
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from test_mistakes import MISTAKES  # noqa: E402


def main() -> None:
    """Print a row per command."""
    print("| `python run.py ...` | exit code | answer |\n|---|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        for words in MISTAKES:
            command = [sys.executable, str(ROOT / "run.py"), *words.split()]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
            answer = (done.stderr or done.stdout).strip().replace("\n", "<br>").replace("|", "\\|")
            left = [str(path.relative_to(folder)) for path in Path(folder).rglob("*")]
            typed = " ".join(shlex.quote(word) for word in words.split())
            print(f"| `{typed}` | {done.returncode} | {answer}{f' Left: {left}' if left else ''} |", flush=True)


if __name__ == "__main__":
    main()
