"""Every row against the baseline of its family: the difference, its two intervals, and a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mtl.report.predictions import losses, predictions
from mtl.report.rows import SCORE, SINGLE, Block, Row, Rows
from mtl.report.stats import Comparison, bootstrap_pictures, compare, verdict

#: mean relative change of the tasks' metrics against one network per task, percent, higher is better
DELTA_M = "delta_m"
#: score minus that of one network per task, points
SKILL_DELTA = "skill_delta"
_TO_SINGLE = (DELTA_M, SKILL_DELTA)


@dataclass(frozen=True)
class Choices:
    """What a reader chooses: rows by `baseline` (a label or weighting; None: `sum` or else the first row)."""

    baseline: str | None = None
    #: of the intervals
    level: float = 0.95
    #: points of the score below which a difference does not matter
    margin: float = 1.0
    #: of everything random: bootstrap and Monte Carlo
    seed: int = 0


@dataclass(frozen=True)
class Compared:
    """A row minus its baseline in one quantity, in the quantity's own unit and sign."""

    row: Row
    baseline: Row
    key: str
    difference: float
    #: over seeds, simultaneous over the rows of the family; None with one seed, or where `refused`
    interval: tuple[float, float] | None
    #: over test pictures, the networks being what they are; of the score only
    pictures: tuple[float, float] | None
    #: better, worse, undecided, no difference above 1; empty without an interval
    verdict: str
    #: all that the statistics say, of the difference with positive = better
    statistics: Comparison | None
    #: why there is no comparison over seeds
    refused: str = ""

    def sentence(self, unit: str, decimals: int = 1) -> str:
        """`dwa - sum = +0.8 [-0.4, 2.0] skill points: undecided; about 9 seeds would decide`."""
        after = f" {unit}" if unit else ""
        difference = round(self.difference, decimals) + 0.0  # no minus before a zero
        words = f"{self.row.label} - {self.baseline.label} = {difference:+.{decimals}f}"
        if self.interval is None or self.statistics is None:
            return f"{words}{after}: {self.refused or 'one seed, no interval'}"
        words += f" [{self.interval[0]:.{decimals}f}, {self.interval[1]:.{decimals}f}]{after}: {self.verdict}"
        if self.verdict == "undecided":
            needed = self.statistics.seeds_needed
            words += f"; about {needed} seeds would decide" if needed else "; 1000 seeds would not decide"
        return words


@dataclass
class Comparisons:
    """Comparisons of all rows; each quantity is computed once, when it is asked for."""

    rows: Rows
    choices: Choices = field(default_factory=Choices)
    _found: dict[tuple[str, bool], dict[str, Compared]] = field(default_factory=dict)
    #: why no interval over test pictures could be had
    notes: list[str] = field(default_factory=list)

    def of(self, key: str, higher: bool = True) -> dict[str, Compared]:
        """Label of a row -> its comparison in `key` with the baseline of its family; of `DELTA_M` with `SINGLE`."""
        if (key, higher) not in self._found:
            families = dict.fromkeys(row.family for row in self.rows.rows)
            found = [one for family in families for one in self._family(family, key, higher)]
            self._found[key, higher] = {one.row.label: one for one in found}
        return self._found[key, higher]

    def baseline(self, family: tuple[str, ...], key: str = SCORE) -> Row | None:
        """The row that others of `family` are compared with in `key`; None if the family has none."""
        members = [row for row in self.rows.rows if row.family == family]
        if key in _TO_SINGLE:
            return next((row for row in members if row.weighting == SINGLE), None)
        name = self.choices.baseline
        if name is not None:
            self.rows.find(name)  # a name that no row has is a mistake, one that this family lacks is not
        else:
            return next((row for row in members if row.weighting == "sum"), members[0])
        return next((row for row in members if name in (row.label, row.weighting)), None)

    def values(self, row: Row, key: str) -> dict[Block, float]:
        """Block -> value; `DELTA_M` and `SKILL_DELTA` are differences to the single-task runs of the same block."""
        if key not in _TO_SINGLE:
            return self.rows.values(row, key)
        single = self.baseline(row.family, key)
        if single is None or row is single:
            return {}
        own, theirs = (self._compared(one, single, key) for one in (row, single))
        return {block: own[block] - theirs[block] for block in own if block in theirs}

    def _compared(self, row: Row, baseline: Row, key: str) -> dict[Block, float]:
        """What `key` compares: of a difference to the single-task runs, the value itself."""
        if key == DELTA_M:
            return self._relative(row, baseline)
        return self.rows.values(row, SCORE if key == SKILL_DELTA else key)

    def _relative(self, row: Row, single: Row) -> dict[Block, float]:
        """Mean over tasks of the metric in percent of the mean of `single`, better = higher."""
        parts = []
        for task in self.rows.tasks:
            key, sign = self.rows.primary(task)
            scale = self.rows.values(single, key)
            own = self.rows.values(row, key)
            if not own or not scale:
                return {}
            mean = sum(scale.values()) / len(scale)
            parts.append({block: sign * 100 * value / mean for block, value in own.items()})
        shared = [block for block in parts[0] if all(block in part for part in parts)]
        return {block: sum(part[block] for part in parts) / len(parts) for block in shared}

    def _family(self, family: tuple[str, ...], key: str, higher: bool) -> list[Compared]:
        baseline = self.baseline(family, key)
        if baseline is None:
            return []

        def values(row: Row) -> dict[Block, float]:
            return self._compared(row, baseline, key)

        members = [row for row in self.rows.rows if row.family == family and values(row)]
        if baseline not in members:
            return []
        blocks = list(values(baseline))
        complete = [row for row in members if set(values(row)) == set(blocks)]
        sign = 1 if higher else -1
        table = np.array([[sign * values(row)[block] for block in blocks] for row in complete])
        at = complete.index(baseline)
        over_seeds: dict[str, Comparison | None] = {}
        if len(complete) > 1:
            statistics = compare(table, at, level=self.choices.level, seed=self.choices.seed)
            over_seeds = {row.label: one for row, one in zip(complete, statistics, strict=True)}
        pictures = self._pictures(complete, at) if key == SCORE else {}
        found = []
        for row in members:
            if row is baseline:
                continue
            one = over_seeds.get(row.label)
            own, theirs = values(row), values(baseline)
            difference = float(np.mean(list(own.values())) - np.mean(list(theirs.values())))
            interval = None
            if one is not None and one.low is not None and one.high is not None:
                interval = (one.low, one.high) if higher else (-one.high, -one.low)
            said = "" if one is None or interval is None else verdict(one, self._margin(key))
            refused = "" if row in complete else self._unbalanced(row, own, baseline, theirs)
            found.append(
                Compared(row, baseline, key, difference, interval, pictures.get(row.label), said, one, refused)
            )
        return found

    def _margin(self, key: str) -> float:
        return self.choices.margin if key in (SCORE, *_TO_SINGLE) else 0.0

    def _unbalanced(self, row: Row, own: dict[Block, float], baseline: Row, theirs: dict[Block, float]) -> str:
        def words(blocks: Sequence[Block]) -> str:
            return ", ".join("/".join(block) for block in blocks)

        lacking = [block for block in theirs if block not in own]
        name, missing = (row.label, lacking) if lacking else (baseline.label, [b for b in own if b not in theirs])
        what = "/".join(self.rows.blocks)
        return f"not compared, because {name} lacks {what} {words(missing)}; train it, too"

    def _pictures(self, complete: Sequence[Row], baseline: int) -> dict[str, tuple[float, float]]:
        """Label -> interval of the difference in the score over test pictures."""
        if "split_seed" in self.rows.blocks:
            self.notes.append("no intervals over test pictures: the runs have several splits")
            return {}
        try:
            found = predictions(self.rows, complete)
            drawn = bootstrap_pictures(losses(self.rows, complete, found), found.clusters, seed=self.choices.seed)
        except ValueError as error:
            self.notes.append(f"no intervals over test pictures: {error}")
            return {}
        tail = 50 * (1 - self.choices.level)
        low, high = np.percentile(drawn - drawn[:, [baseline]], [tail, 100 - tail], axis=0)
        return {row.label: (float(low[m]), float(high[m])) for m, row in enumerate(complete) if m != baseline}
