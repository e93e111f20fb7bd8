"""Memory and disk of a run: the peak of its processes together, the peak of its folder, and what it leaves.

    python benchmarks/footprint.py [--repo PATH] [OVERRIDE ...]

Runs `python run.py OVERRIDE ...` of the repository (this one, or another checkout to compare with) in an empty folder,
and looks every 20 ms. Memory is proportional set size, where pages that processes share count once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def memory(root: int) -> int:
    """Bytes of the process `root` and all below it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family and pid not in family}:
        family |= more
    total = 0
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def disk(folder: Path) -> dict[str, int]:
    """Allocated bytes of each file below `folder`; a second name of a file counts nothing."""
    sizes, seen = {}, set()
    for path in folder.rglob("*"):
        try:
            info = path.stat()
        except OSError:
            continue
        if path.is_file() and info.st_ino not in seen:
            seen.add(info.st_ino)
            sizes[str(path.relative_to(folder))] = info.st_blocks * 512
    return sizes


def main() -> None:
    """Run it, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    mib = 2**20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "PYTHONPATH": str(options.repo.absolute())}
        command = [sys.executable, str(options.repo.absolute() / "run.py"), *options.overrides]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        most_memory = most_disk = 0
        while process.poll() is None:
            most_memory = max(most_memory, memory(process.pid))
            most_disk = max(most_disk, sum(disk(folder).values()))
            time.sleep(0.02)
        left = disk(folder)
    print(f"run.py {' '.join(options.overrides)}: exit code {process.returncode}")
    peaks = f"peak memory {most_memory / mib:.0f} MiB, peak disk {most_disk / mib:.0f} MiB"
    print(f"{peaks}, left {sum(left.values()) / mib:.1f} MiB")
    for path, size in sorted(left.items(), key=lambda item: -item[1])[:3]:
        print(f"  {size / mib:6.1f} MiB  {Path(path).name}")


if __name__ == "__main__":
    main()
