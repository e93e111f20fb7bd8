"""What the dashboard shows, as plain values for JSON: facts, the table's rows with their comparisons, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtl.report.caption import describe
from mtl.report.compare import DELTA_M, SKILL_DELTA, Compared, Comparisons
from mtl.report.mistakes import Mistakes
from mtl.report.render import decimals_of, heading
from mtl.report.rows import SCORE, Row, Rows
from mtl.report.runs import runs_of
from mtl.report.stats import interval
from mtl.report.tables import TRIVIAL, Cell, Column, Table, build


def contents(comparisons: Comparisons, configs: Mapping[str, Mapping[str, Any]], worst: Mistakes) -> dict[str, Any]:
    """The page but for the histories: rows refer to runs, and runs to rows, by their place in the lists."""
    rows, study = comparisons.rows, comparisons.rows.study
    table = build(comparisons)
    caption = describe(study, table, comparisons, signs=("▲", "▼"))
    columns = [_column(table, column) for column in table.columns]
    places = {row.label: place for place, row in enumerate(rows.rows)}
    names = [str(run) for run in study.runs["run"]]
    at = {name: place for place, name in enumerate(names)}
    baselines = {row.label for f in {row.family for row in rows.rows} if (row := comparisons.baseline(f))}
    return {
        "name": study.name,
        "synthetic": bool((study.done["synthetic"] == True).any()),  # noqa: E712 (an object column with None)
        "facts": _facts(rows),
        "level": comparisons.choices.level,
        "margin": comparisons.choices.margin,
        "lines": caption.lines,
        "notes": caption.notes,
        "tasks": [{"name": task, "primary": rows.primary(task)[0]} for task in rows.tasks],
        "keys": rows.keys,
        "blocks": rows.blocks,
        "columns": columns,
        "rows": [_row(comparisons, table, row, columns, places, at, row.label in baselines) for row in rows.rows],
        "trivial": [
            {"keys": [row.keys.get(key, "") for key in rows.keys], "cells": {k: [c.mean] for k, c in row.cells.items()}}
            for row in table.rows
            if row.weighting == TRIVIAL
        ],
        **runs_of(rows, configs, names, places),
        "pictures": _pictures(worst, places),
    }


def _facts(rows: Rows) -> list[tuple[str, str]]:
    study = rows.study
    shared, counts = study.shared, study.runs["status"].value_counts()
    seeds = sorted({block[0] for row in rows.rows for block in row.runs}, key=lambda seed: (len(seed), seed))
    shown = ", ".join(seeds) if len(seeds) < 9 else f"{seeds[0]} to {seeds[-1]} ({len(seeds)})"
    known = {
        "backbone": shared.get("names.backbone"),
        "pictures": f"{size} px" if (size := shared.get("data.image_size")) is not None else None,
        "epochs": shared.get("train.epochs"),
        "batch": shared.get("train.batch_size"),
        "split seed": shared.get("data.split_seed"),
        "data hash": str(shared["data.fingerprint"])[:8] if shared.get("data.fingerprint") else None,
    }
    facts = [
        ("data", ", ".join(map(str, dict.fromkeys(study.done["data"])))),
        ("tasks", ", ".join(rows.tasks)),
        *((name, str(value)) for name, value in known.items() if value is not None),
        ("seeds", shown),
        ("runs", ", ".join(f"{count} {status}" for status, count in counts.items())),
    ]
    return [(name, text) for name, text in facts if text]


def _column(table: Table, column: Column) -> dict[str, Any]:
    top, bottom = heading(column)
    largest = max(abs(cell.mean) for row in table.rows if (cell := row.cells.get(column.key)))
    return {
        "key": column.key,
        "task": column.task,
        "title": [top, bottom],
        "name": f"{top} {bottom}".strip(),
        "unit": _unit(column),
        "higher": column.higher,
        "primary": column.primary,
        "decimals": decimals_of(column, largest),
    }


def _unit(column: Column) -> str:
    return "skill points" if column.key == SCORE else "" if column.unit == "fraction" else column.unit


def _row(
    comparisons: Comparisons,
    table: Table,
    row: Row,
    columns: Sequence[Mapping[str, Any]],
    places: Mapping[str, int],
    at: Mapping[str, int],
    is_baseline: bool,
) -> dict[str, Any]:
    shown = next(r for r in table.rows if r.label == row.label)
    cells, compared = {}, {}
    for column in columns:
        key = column["key"]
        if cell := shown.cells.get(key):
            cells[key] = _cell(comparisons, row, key, cell)
            if cell.compared is not None:
                compared[key] = _compared(cell.compared, column, places)
    return {
        "label": row.label,
        "weighting": row.weighting,
        "keys": [row.keys.get(key, "") for key in comparisons.rows.keys],
        "tasks": row.tasks,
        "blocks": ["/".join(block) for block in row.runs],
        "runs": [[at[run] for run in runs] for runs in row.runs.values()],
        "command": shown.command,
        "same_as": row.same_as,
        "baseline": is_baseline,
        "cells": cells,
        "compared": compared,
    }


def _cell(comparisons: Comparisons, row: Row, key: str, cell: Cell) -> list[Any]:
    """Mean, standard deviation, values by block (null: none), interval of the mean."""
    import numpy as np

    values = comparisons.values(row, key)
    found = interval(np.array(list(values.values())), comparisons.choices.level) if len(values) > 1 else None
    return [cell.mean, cell.std, [values.get(block) for block in row.runs], found]


def _compared(one: Compared, column: Mapping[str, Any], places: Mapping[str, int]) -> dict[str, Any]:
    s = one.statistics
    decimals = 1 if column["key"] in (SCORE, DELTA_M, SKILL_DELTA) else column["decimals"]
    return {
        "baseline": places[one.baseline.label],
        "difference": one.difference,
        "interval": one.interval,
        "pictures": one.pictures,
        "verdict": one.verdict,
        "refused": one.refused,
        "sentence": one.sentence(column["unit"], decimals),
        "p": s.p if s else None,
        "improvement": s.improvement if s else None,
        "detectable": s.detectable if s else None,
        "seeds_needed": s.seeds_needed if s else None,
    }


def _pictures(worst: Mistakes, places: Mapping[str, int]) -> dict[str, Any]:
    return {
        "notes": worst.notes,
        "copies": worst.copies,
        "worst": {
            task: {places[label]: [[m.id, m.truth, m.predicted] for m in found] for label, found in of_task.items()}
            for task, of_task in worst.worst.items()
        },
    }
