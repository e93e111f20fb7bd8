"""How far the report's statistics can be trusted: simulated studies, and what `mtl.report.stats` says about them.

    python benchmarks/calibration.py [--replicates 20000] [--seed 0] > tables.md

Every study has M rows (row 0 is the baseline) in n blocks, drawn from y = row + block + residual, and is judged by the
functions that a report uses. Prints the tables of docs/statistics.md; a few minutes, one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from mtl.report.blocked import fit
from mtl.report.power import critical, shift
from mtl.report.sensitivity import bootstrap, holm, sign_flip

BLOCKS, ROWS = (3, 5, 10), (3, 6, 10)
TIMES = (2, 3, 5, 10)  # how much larger the odd row's standard deviation is
LEVEL = 0.95


class Studies:
    """Draws studies [replicates, M, n] of rows that do not differ; residuals have a standard deviation of 1."""

    def __init__(self, replicates: int, seed: int) -> None:
        self.replicates = replicates
        self.generator = np.random.default_rng(seed)

    def draw(self, rows: int, blocks: int, noise: str = "normal", block_effect: float = 1.0) -> np.ndarray:
        shape = (self.replicates, rows, blocks)
        match noise:
            case "normal":
                residual = self.generator.standard_normal(shape)
            case "t5":
                residual = self.generator.standard_t(5, shape) / np.sqrt(5 / 3)
            case "exponential":
                residual = self.generator.exponential(size=shape) - 1
            case _:
                raise AssertionError(noise)
        return residual + block_effect * self.generator.standard_normal((self.replicates, 1, blocks))


def false_claims(values: np.ndarray) -> float:
    """Percent of the studies with at least one interval that excludes 0."""
    fitted = fit(values, 0)
    return 100 * float((abs(fitted.difference) > fitted.half(LEVEL)).any(axis=1).mean())


def always_pooled(values: np.ndarray) -> float:
    """The same if unequal spreads were never looked for."""
    rows, blocks = values.shape[1:]
    residual = values - values.mean(axis=2, keepdims=True) - values.mean(axis=1, keepdims=True)
    residual += values.mean(axis=(1, 2), keepdims=True)
    degrees = (rows - 1) * (blocks - 1)
    square = (residual**2).sum(axis=(1, 2)) / degrees
    half = critical(rows - 1, degrees, 1 - LEVEL) * np.sqrt(2 * square / blocks)
    means = values.mean(axis=2)
    return 100 * float((abs(means[:, 1:] - means[:, :1]) > half[:, None]).any(axis=1).mean())


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, numbers with one decimal."""
    print("\n| " + " | ".join(heads) + " |\n|" + "---:|" * len(heads))
    for row in rows:
        print("| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    print(flush=True)


def model_holds(studies: Studies) -> None:
    """Equal spreads: false claims, coverage, power."""
    lines = []
    for blocks in BLOCKS:
        for rows in ROWS:
            count, degrees = rows - 1, (rows - 1) * (blocks - 1)
            values = studies.draw(rows, blocks)
            truth = studies.generator.normal(0, 1, (studies.replicates, count))
            moved = studies.draw(rows, blocks)
            moved[:, 1:] += truth[:, :, None]
            fitted = fit(moved, 0)
            covered = (abs(fitted.difference - truth) <= fitted.half(LEVEL)).all(axis=1).mean()
            planted = studies.draw(rows, blocks)
            planted[:, 1] += shift(count, degrees, 1 - LEVEL) * np.sqrt(2 / blocks)
            fitted = fit(planted, 0)
            found = (fitted.difference > fitted.half(LEVEL))[:, 0]
            pooled = ~fitted.own[:, 0]
            single = planted[:, 1] - planted[:, 0]
            half = critical(1, blocks - 1, (1 - LEVEL) / count) * single.std(axis=1, ddof=1) / np.sqrt(blocks)
            lines.append(
                [
                    blocks,
                    rows,
                    false_claims(values),
                    100 * covered,
                    100 * pooled.mean(),
                    100 * found[pooled].mean(),
                    100 * found.mean(),
                    100 * (single.mean(axis=1) > half).mean(),
                ]
            )
    print("### Equal spreads: percent")
    table(
        [
            "blocks",
            "rows",
            "false claims",
            "coverage",
            "pooled",
            "found, where pooled",
            "found, all",
            "found if never pooled",
        ],
        lines,
    )


def spreads_differ(studies: Studies) -> None:
    """One row's residuals are larger: false claims."""
    for name, odd in (("a method's", -1), ("the baseline's", 0)):
        lines = []
        for blocks in BLOCKS:
            for rows in ROWS:
                values = studies.draw(rows, blocks, block_effect=0)
                line: list[object] = [blocks, rows]
                worst = 0.0
                for times in TIMES:
                    changed = values.copy()
                    changed[:, odd] *= times
                    line.append(false_claims(changed))
                    worst = max(worst, always_pooled(changed))
                lines.append([*line, worst])
        print(f"### False claims (percent) where {name} standard deviation is 2, 3, 5, 10 times the others'")
        table(["blocks", "rows", *(f"{times} x" for times in TIMES), "worst if always pooled"], lines)


def model_fails(studies: Studies) -> None:
    """Tails, skewness, large block effects, rows that go together: false claims."""
    lines = []
    for blocks in BLOCKS:
        for rows in ROWS:
            line: list[object] = [blocks, rows]
            line.append(false_claims(studies.draw(rows, blocks, block_effect=100.0)))
            line += [false_claims(studies.draw(rows, blocks, noise)) for noise in ("t5", "exponential")]
            for one, other in ((1, 2), (0, 1)):
                twins = studies.draw(rows, blocks, block_effect=0)
                twins[:, other] = 0.9 * twins[:, one] + np.sqrt(1 - 0.9**2) * twins[:, other]
                line.append(false_claims(twins))
            two = studies.draw(rows, blocks, block_effect=0)
            two[:, 1:3] *= 3
            lines.append([*line, false_claims(two)])
    print("### False claims (percent) where the model fails otherwise")
    table(
        [
            "blocks",
            "rows",
            "block effect 100 x",
            "t, 5 df",
            "exponential",
            "two methods correlate 0.9",
            "a method and the baseline correlate 0.9",
            "two methods 3 x",
        ],
        lines,
    )


def odd_row_found(studies: Studies) -> None:
    """A collapsing method: the power stated for it by its own differences, and that of the others beside it."""
    lines = []
    for blocks in BLOCKS:
        for rows in ROWS:
            count = rows - 1
            values = studies.draw(rows, blocks, block_effect=0)
            values[:, -1] *= 10
            values[:, -1] += shift(1, blocks - 1, (1 - LEVEL) / count) * np.sqrt((1 + 100) / blocks)
            values[:, 1] += shift(count, count * (blocks - 1), 1 - LEVEL) * np.sqrt(2 / blocks) if rows > 2 else 0
            fitted = fit(values, 0)
            found = fitted.difference > fitted.half(LEVEL)
            judged = fitted.own[:, -1]
            lines.append(
                [
                    blocks,
                    rows,
                    100 * judged.mean(),
                    100 * found[judged, -1].mean(),
                    100 * found[:, 0].mean(),
                    100 * found[~fitted.own[:, 0], 0].mean(),
                ]
            )
    print("### One method 10 x: percent judged by its own differences, found where 80 is stated; another row")
    table(
        ["blocks", "rows", "own", "found, where own", "another row: found", "another row: found, where pooled"], lines
    )


def resampling(studies: Studies) -> None:
    """Resampling of seeds, for contrast: coverage of one difference; sign flips with Holm."""
    generator, lines = studies.generator, []
    for blocks in (3, 5, 8, 10, 20):
        differences = generator.standard_normal((max(studies.replicates // 4, 1), blocks))
        student = critical(1, blocks - 1, 1 - LEVEL) * differences.std(axis=1, ddof=1) / np.sqrt(blocks)
        covered = [100 * float((abs(differences.mean(axis=1)) <= student).mean())]
        for method in ("percentile", "BCa"):
            # Each batch of studies with draws of its own.
            ends = np.concatenate(
                [
                    bootstrap(part, LEVEL, number, method, 2000)
                    for number, part in enumerate(np.array_split(differences, 50))
                ]
            )
            covered.append(100 * float(((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean()))
        lines.append([blocks, *covered])
    print("### Coverage (percent) of a 95 % interval of one difference")
    table(["blocks", "Student", "percentile bootstrap", "BCa bootstrap"], lines)
    smallest: list[Sequence[object]] = []
    for blocks in (5, 6, 8, 10):
        for rows in ROWS:
            count = rows - 1
            planted = shift(count, count * (blocks - 1), 1 - LEVEL) * np.sqrt(2 / blocks)
            line: list[object] = [blocks, rows, f"{2 * count / 2**blocks:.3f}"]
            for effect in (0.0, planted):
                values = studies.draw(rows, blocks)[: studies.replicates // 4]
                values[:, 1] += effect
                differences = (values[:, 1:] - values[:, :1]).reshape(-1, blocks)
                p = np.concatenate([sign_flip(part) for part in np.array_split(differences, 20)]).reshape(-1, count)
                adjusted = np.stack([holm(each) for each in p])
                claimed = adjusted <= 1 - LEVEL + 1e-12
                line.append(100 * float(claimed[:, 0].mean() if effect else claimed.any(axis=1).mean()))
            smallest.append(line)
    print("### Sign flips with Holm: false claims, and found where the pooled test finds 80 (percent)")
    table(["blocks", "rows", "smallest p there can be", "false claims", "found"], smallest)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    studies = Studies(options.replicates, options.seed)
    model_holds(studies)
    spreads_differ(studies)
    model_fails(studies)
    odd_row_found(studies)
    resampling(studies)


if __name__ == "__main__":
    main()
