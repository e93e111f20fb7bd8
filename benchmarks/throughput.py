"""Images per second of our training over those of a bare loop, in interleaved blocks.

The bare loop has the same network, optimizer (fused), losses and batch size, and nothing else: its batches lie ready on
the device, normalised and augmented; their losses are added up and sent back. Ours gathers, augments, weighs, keeps
losses, weights and training metrics, and draws its progress. Blocks of steps alternate, and so does which of the two
comes first; each pair gives one ratio, and a noisy machine disturbs both of its halves.

    python benchmarks/throughput.py
    python benchmarks/throughput.py weighting=uncertainty data.image_size=64
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch

from mtl.build import Parts, build_loaders, build_optimization, build_parts, load_data
from mtl.config import compose
from mtl.data.batch import Batch
from mtl.display import Display
from mtl.environment import describe_environment, set_threads
from mtl.train import fit


def bare(parts: Parts, batches: list[Batch], optimizer: torch.optim.Optimizer) -> None:
    """One pass over resident batches."""
    parts.model.train()
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        _, outputs = parts.model(batch.images)
        losses = [
            task.loss(output, batch.targets[:, k], batch.masks[:, k])
            for k, (task, output) in enumerate(zip(parts.tasks, outputs, strict=True))
        ]
        torch.stack(losses).sum().backward()
        optimizer.step()


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Print the ratio of each pair, their median and the interval of the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for run.py")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=15, help="steps of a block")
    arguments = parser.parse_args()

    config = compose(arguments.overrides)
    threads = set_threads(config["train"]["threads"])
    data = load_data(config)
    ours, theirs = build_parts(config), build_parts(config)
    everything = build_loaders(config, ours, data)
    size = config["train"]["batch_size"]
    loader = everything.train
    loader.indices = loader.indices[: arguments.steps * size]
    assert len(loader) == arguments.steps, "the training part has too few pictures for a block"
    total = len(loader) * (arguments.pairs + 2)
    our_optimizer, schedule = build_optimization(config, ours, total)
    their_optimizer, _ = build_optimization(config, theirs, total)
    resident = list(loader.epoch(0))

    def ours_block(epoch: int, display: Display) -> float:
        started = time.perf_counter()
        fit(
            ours.model,
            ours.tasks,
            ours.weighting,
            loader,
            our_optimizer,
            schedule,
            epochs=range(epoch, epoch + 1),
            device=ours.device,
            on_step=lambda epoch, sums: display.step(),
        )
        synchronise(ours.device)
        return time.perf_counter() - started

    def bare_block() -> float:
        started = time.perf_counter()
        bare(theirs, resident, their_optimizer)
        synchronise(ours.device)
        return time.perf_counter() - started

    ratios, our_times, bare_times = [], [], []
    with Display("throughput", arguments.pairs + 2, arguments.steps) as display:
        for pair in range(arguments.pairs + 2):
            if pair % 2:
                a, b = ours_block(pair, display), bare_block()
            else:
                b, a = bare_block(), ours_block(pair, display)
            if pair >= 2:  # the first two warm up
                ratios.append(b / a)
                our_times.append(a)
                bare_times.append(b)
    ratios.sort()
    # Distribution-free 95 % interval of the median: the order statistics n/2 -/+ 0.98 sqrt(n).
    n = len(ratios)
    half = 0.98 * n**0.5
    low, high = ratios[max(0, int(n / 2 - half))], ratios[min(n - 1, int(n / 2 + half))]
    images = arguments.steps * size
    environment = describe_environment(ours.device, threads)
    packages, processors = environment["packages"], environment["processors"]
    print(f"torch {packages['torch']}, {environment['device']}, {threads} of {processors} processors")
    names, pixels = config["names"], config["data"]["image_size"]
    print(f"{names['backbone']}, {names['weighting']}, {pixels} px, batch {size}, medians in images/s:")
    print(f"ours {images / statistics.median(our_times):.0f}, bare {images / statistics.median(bare_times):.0f}")
    print(f"ratio ours/bare: median {statistics.median(ratios):.3f}, 95 % interval {low:.3f} to {high:.3f}, {n} pairs")


if __name__ == "__main__":
    main()
