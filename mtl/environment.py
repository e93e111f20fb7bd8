"""What a run was computed on: for env.json, and for choosing device and threads."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "torch",
    "torchvision",
    "torchjd",
    "numpy",
    "pillow",
    "hydra-core",
    "omegaconf",
    "wandb",
    "pandas",
)
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # timings beside other work depend on them


def choose_device(name: str) -> torch.device:
    """The device `train.device` names; `auto` is the GPU if there is one.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()  # a device may parse and still not be there
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        have = ["auto", "cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise ValueError(
            f"train.device={name}: not usable on this machine; expected one of {', '.join(have)}."
        ) from error
    return device


def set_threads(threads: int | None) -> int:
    """Set torch's threads (None: every processor this process may use) before any work; their number.

    Bits depend on it: two runs are equal only at equal threads.
    """
    number = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(number)
    return number


def describe_environment(device: torch.device, threads: int) -> dict[str, Any]:
    """Versions, commit, device, threads and how they wait."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "git": git_state(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "processors": os.cpu_count(),
        "threads": threads,
        "openmp": {name: os.environ[name] for name in _WAITING if name in os.environ},
    }


def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the code; None where it is no checkout or git is missing."""
    folder = Path(__file__).parent

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "dirty": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
