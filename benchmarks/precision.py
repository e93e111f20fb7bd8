"""How much faster a training step is in bfloat16 (`train.amp`) and channels last, per backbone: ratios inside one run.

Four variants of each backbone take turns, a block of steps each, through the very loop of a run; the first round warms
up. A number above 1 is how many times as fast as float32 and contiguous the variant is, the median over the rounds.

    python benchmarks/precision.py
    python benchmarks/precision.py --rounds 9 backbone=resnet18,mobilenet_v2 data.image_size=64
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from mtl.build import build_loaders, build_optimization, build_parts, load_data
from mtl.config import CONF, compose
from mtl.environment import describe_environment, set_threads
from mtl.train import fit

VARIANTS = [(False, False), (False, True), (True, False), (True, True)]  # channels last, bfloat16
NAMES = sorted(Path(path).stem for path in (CONF / "backbone").glob("*.yaml"))


def measure(name: str, overrides: list[str], rounds: int, steps: int) -> dict[tuple[bool, bool], list[float]]:
    """Seconds of each block of each variant."""
    blocks = {}
    for layout, amp in VARIANTS:
        config = compose([f"backbone={name}", f"backbone.channels_last={layout}", *overrides])
        set_threads(config["train"]["threads"])
        parts, data = build_parts(config), load_data(config)
        loader = build_loaders(config, parts, data).train
        loader.indices = loader.indices[: steps * loader.batch_size]
        optimizer, schedule = build_optimization(config, parts, steps * (rounds + 1))

        def block(epoch: int, parts=parts, loader=loader, rest=(optimizer, schedule), amp=amp) -> float:  # noqa: ANN001
            started = time.perf_counter()
            epochs = range(epoch, epoch + 1)
            fit(parts.model, parts.tasks, parts.weighting, loader, *rest, epochs=epochs, device=parts.device, amp=amp)
            return time.perf_counter() - started

        blocks[layout, amp] = block
    seconds: dict[tuple[bool, bool], list[float]] = {variant: [] for variant in VARIANTS}
    for epoch in range(rounds + 1):
        for variant in VARIANTS if epoch % 2 else reversed(VARIANTS):
            taken = blocks[variant](epoch)
            if epoch:
                seconds[variant].append(taken)
    return seconds


def main() -> None:
    """Print a row per backbone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for run.py; backbone=a,b chooses")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="steps of a block")
    options = parser.parse_args()
    chosen = [word.removeprefix("backbone=").split(",") for word in options.overrides if word.startswith("backbone=")]
    overrides = [word for word in options.overrides if not word.startswith("backbone=")]
    config = compose(overrides)
    environment = describe_environment(build_parts(config).device, set_threads(config["train"]["threads"]))
    print(f"torch {environment['packages']['torch']}, {environment['device']}, {environment['threads']} threads")
    print(f"batch {config['train']['batch_size']}, {config['data']['image_size']} px")
    print("backbone              float32    bfloat16   channels   both")
    print("                      ms a step             last")
    for name in chosen[0] if chosen else NAMES:
        seconds = measure(name, overrides, options.rounds, options.steps)
        base = seconds[False, False]
        ratios = [
            statistics.median(b / v for b, v in zip(base, seconds[variant], strict=True)) for variant in VARIANTS[1:]
        ]
        bf16, last, both = ratios
        print(
            f"{name:20} {1000 * statistics.median(base) / options.steps:9.0f} {bf16:10.2f} {last:10.2f} {both:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
