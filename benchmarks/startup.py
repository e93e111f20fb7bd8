"""Seconds from typing `python run.py ...` to the first training step, on a warm cache.

The time ends when the run prints its name, directly before its first step; what follows is not waited for. The first
start warms the caches (pictures, bytecode) and does not count.

    python benchmarks/startup.py
    python benchmarks/startup.py data=utkface data.root=UTKFace.tar.gz
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(overrides: list[str]) -> float:
    """Seconds until the run prints its name."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "run.py"), f"runs_dir={folder}", *overrides]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if "-resnet" in line or "-mobilenet" in line:
                        return time.perf_counter() - started
            finally:
                process.kill()
    raise SystemExit("the run ended before its first step; its message is above.")


def main() -> None:
    """Print the seconds of each start and their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    start(arguments.overrides)
    seconds = [start(arguments.overrides) for _ in range(arguments.starts)]
    print("seconds to the first step:", *(f"{s:.2f}" for s in seconds), f"median {statistics.median(seconds):.2f}")


if __name__ == "__main__":
    main()
