"""What a reader must know to judge a table, in words: the same for every output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtl.report.collect import Study
from mtl.report.compare import DELTA_M, Compared, Comparisons
from mtl.report.rows import SCORE, SINGLE
from mtl.report.tables import TRIVIAL, Column, Table


@dataclass(frozen=True)
class Caption:
    """The words of a report."""

    #: facts and rules, a sentence or two each
    lines: list[str]
    #: of the verdicts: quantity and unit
    heading: str
    #: a sentence per comparison
    verdicts: list[str]
    #: the same in columns, as text
    comparisons: list[dict[str, str]]
    #: what the data cannot say
    notes: list[str]


def describe(
    study: Study, table: Table, comparisons: Comparisons, signs: tuple[str, str] = ("Bold", "underlined")
) -> Caption:
    """The caption of `table`, in which `signs` mark what is better and what is worse than the baseline."""
    column = _headline(table)
    found = list(comparisons.of(column.key, column.higher).values()) if column else []
    unit = _unit(column) if column else ""
    return Caption(
        _lines(study, table, comparisons, signs),
        f"Against the baseline: {_quantity(column)}" if column else "",
        [one.sentence(unit) for one in found],
        [_row(one) for one in found],
        _notes(study, table, comparisons, found, unit),
    )


def _headline(table: Table) -> Column | None:
    """The quantity of the verdicts: the score, or the first metric where no run has all tasks."""
    return next((c for c in table.columns if c.key == SCORE), next(iter(table.columns), None))


def _unit(column: Column) -> str:
    return "skill points" if column.key == SCORE else {"fraction": ""}.get(column.unit, column.unit)


def _quantity(column: Column) -> str:
    return "test score, in skill points" if column.key == SCORE else f"{column.task} {column.metric}".strip()


def _lines(study: Study, table: Table, comparisons: Comparisons, signs: tuple[str, str]) -> list[str]:
    sets = study.done[["data", "synthetic"]].drop_duplicates().itertuples(index=False)
    data = [f"{name} (synthetic)" if synthetic is True else str(name) for name, synthetic in sets]
    known = {
        "data.fingerprint": "data hash {:.8}",
        "data.split_seed": "its split {}",
        "data.image_size": "{} px",
        "names.backbone": "backbone {}",
        "train.epochs": "epochs {}",
        "train.batch_size": "batches of {}",
    }
    facts = [", ".join(data), f"tasks {', '.join(table.tasks)}"]
    facts += [text.format(study.shared[key]) for key, text in known.items() if study.shared.get(key) is not None]
    rows = [row for row in table.rows if row.weighting != TRIVIAL]
    low, high = min(row.seeds for row in rows), max(row.seeds for row in rows)
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    several = f"mean ± standard deviation (n - 1) over {n} seeds"
    lines = [
        f"Data: {'; '.join(facts)}.",
        "Test split at the epoch of the best validation score; test set used once; "
        f"{several if high > 1 else 'one seed per row: no spread'}.",
        "↓ lower is better, ↑ higher is better. score: 100 x the mean over all tasks of the skill, the improvement on "
        "the trivial guess (0 no better, 100 perfect). step: milliseconds per training step.",
    ]
    if any(c.key == DELTA_M for c in table.columns):
        metrics = ", ".join(
            f"{c.task} {c.metric.replace('mae_years', 'MAE')}" for c in table.columns if c.primary and c.task
        )
        lines.append(
            f"Δm: mean over tasks of the relative change of {metrics} against the single-task runs of the same seed, "
            "in percent of their mean, higher is better. Δskill: the score minus theirs. Both are marked by their "
            f"intervals against {SINGLE}, which carry its spread."
        )
    if any(row.weighting == SINGLE for row in table.rows):
        lines.append(f"{SINGLE}: one network per task, its tasks' runs of a seed put together; step is their sum.")
    if len(rows) < len(table.rows):
        lines.append(f"{TRIVIAL}: always guessing the training median or the most frequent class.")
    if len(rows) == 1:
        lines.append("One configuration: nothing to compare it with yet.")
    elif high > 1:
        level = f"{100 * comparisons.choices.level:g}"
        bases = {one.baseline.label for one in comparisons.of(SCORE).values()}
        base = bases.pop() if len(bases) == 1 else "the baseline"
        told = [one.verdict for c in table.columns for one in comparisons.of(c.key, c.higher).values()]
        words = f"no difference above {comparisons.choices.margin:g}"
        near = f", or {words}, as its verdict says" if words in told else ""
        lines.append(
            f"{signs[0]}: better than {base}, {signs[1]}: worse, by {level} % intervals over seeds, simultaneous "
            "over the rows of a column (Dunnett, blocked by seed; by Bonferroni from each row's own differences where "
            "spreads differ); columns are not adjusted for one another. The rest is undecided, not "
            f"equal{near}."
        )
    return lines


def _row(one: Compared) -> dict[str, str]:
    s = one.statistics

    def span(interval: Sequence[float] | None) -> str:
        return f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""

    def text(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return {
        "row": f"{one.row.label} - {one.baseline.label}",
        "difference": f"{one.difference:+.2f}",
        "over seeds": span(one.interval),
        "over test pictures": span(one.pictures),
        "p": text(s.p if s else None, ".3f"),
        "effect (sd)": text(s.effect if s else None, ".2f"),
        "probability of improvement": text(s.improvement if s else None, ".2f"),
        "detectable": text(s.detectable if s else None, ".2f"),
        "seeds to decide": text(s.seeds_needed if s else None, "d"),
        "verdict": one.verdict or one.refused,
    }


def _notes(study: Study, table: Table, comparisons: Comparisons, found: Sequence[Compared], unit: str) -> list[str]:
    notes = []
    if found and any(one.pictures for one in found):
        notes.append(
            "Two sources of error, two columns: over seeds (would other starts and orders of the pictures give the "
            "same difference?), and over test pictures (would other pictures? near-duplicates drawn together; these "
            "networks kept). Neither includes the other, nor another split of the data."
        )
    detectable = [one.statistics.detectable for one in found if one.statistics and one.statistics.detectable]
    if detectable:
        low, high = min(detectable), max(detectable)
        size = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
        notes.append(
            f"A true difference of {size} {unit} would be found with probability 0.8 if the spreads are what they seem."
        )
    if own := [one.row.label for one in found if one.interval and one.statistics and one.statistics.method == "own"]:
        notes.append(f"Compared by their own paired differences, because spreads differ: {', '.join(own)}.")
    families = [row.family for row in comparisons.rows.rows]
    alone = [row.label for row in comparisons.rows.rows if families.count(row.family) == 1 < len(families)]
    if alone:
        names = f"{', '.join(alone[:5])}{', ...' * (len(alone) > 5)}"
        notes.append(f"Not compared, because no other row has their settings (--rows KEY compares those): {names}.")
    pairs = {tuple(sorted((row.label, *row.same_as))) for row in table.rows if row.same_as}
    notes += [f"{' and '.join(pair)} are one method in theory: not independent evidence." for pair in sorted(pairs)]
    for one in found:
        if one.statistics and one.statistics.sign_flip is not None:
            notes.append(
                "Sensitivity, exact sign flips with Holm's adjustment: "
                + ", ".join(
                    f"{o.row.label} p = {o.statistics.sign_flip:.3f}"
                    for o in found
                    if o.statistics and o.statistics.sign_flip is not None
                )
                + "."
            )
            break
    return [*notes, *(f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(comparisons.notes)), *study.damaged]
