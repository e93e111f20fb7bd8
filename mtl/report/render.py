"""The study table for eyes and files: rich on a terminal, aligned text elsewhere, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Literal

from mtl.report.collect import Study
from mtl.report.tables import STEP, TRIVIAL, Column, Table, to_records

if TYPE_CHECKING:
    from rich.console import RenderableType

_LABELS = {"mae": "MAE", "rmse_log": "RMSE", "f1_macro": "macro F1"}
_ARROWS = {True: " ↑", False: " ↓", None: ""}
#: one line of a cell, or two where a terminal is too narrow
_ONE_LINE, _TWO_LINES = " ", "\n"


def caption(study: Study, table: Table) -> list[str]:
    """What a reader must know to judge the numbers; one line each."""
    sets = study.done[["data", "synthetic"]].drop_duplicates().itertuples(index=False)
    data = [f"{name} (synthetic)" if synthetic is True else str(name) for name, synthetic in sets]
    known = {
        "data.split_seed": "split seed {}",
        "data.fingerprint": "data hash {:.8}",
        "train.epochs": "epochs {}",
    }
    facts = [", ".join(data), f"tasks {', '.join(table.tasks)}"]
    facts += [text.format(study.shared[key]) for key, text in known.items() if study.shared.get(key) is not None]
    rows = [row for row in table.rows if row.weighting != TRIVIAL]
    low, high = min(row.seeds for row in rows), max(row.seeds for row in rows)
    n = f"n = {low}" if low == high else f"n = {low} to {high}"
    several = f"mean ± standard deviation (n - 1) over {n} seeds"
    spread = several if high > 1 else "one seed per row: no spread"
    lines = [
        f"Data: {'; '.join(facts)}.",
        f"Test split at the epoch of the best validation score; test set used once; {spread}.",
        "↓ lower is better, ↑ higher is better. val/score: mean over all tasks of the improvement on the trivial "
        "guess (0 no better, 1 perfect). step: milliseconds per training step.",
    ]
    if len(rows) < len(table.rows):
        lines.append(f"{TRIVIAL}: always guessing the training median or the most frequent class.")
    if len(rows) == 1:
        lines.append("One configuration: nothing to compare it with yet.")
    return lines


def unfinished(study: Study, name: Literal["run", "directory"] = "directory") -> list[str]:
    """One line per run that is not in the table: status, run, first line of the reason."""
    rows = study.runs[study.runs["status"] != "done"]
    return [
        f"{status} {run}: {next(iter(error.splitlines()), '')}"
        for status, run, error in rows[["status", name, "error"]].itertuples(index=False)
    ]


def to_rich(table: Table, width: int) -> RenderableType | None:
    """The table for a terminal of `width` columns; None if it does not fit without cutting numbers."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(width=1000)
    for line_break in (_ONE_LINE, _TWO_LINES):
        headings, rows = _cells(table, primary=True, line_break=line_break)
        padding = 1 if line_break == _ONE_LINE else 0
        drawn = RichTable(
            box=box.SIMPLE_HEAD, padding=(0, padding), collapse_padding=True, pad_edge=False, show_edge=False
        )
        for top, bottom in headings:
            drawn.add_column(Text(f"{top}\n{bottom}".replace(" (", f"{line_break}(")), no_wrap=True)
        for row in rows:
            drawn.add_row(*map(Text, row))
        if Measurement.get(console, console.options, drawn).maximum <= width:
            return drawn
    return None


def to_text(table: Table) -> str:
    """The table as aligned text of any width."""
    headings, rows = _cells(table, primary=True)
    lines = [[top for top, _ in headings], [bottom for _, bottom in headings], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*padded[:2], "-" * (sum(widths) + 2 * len(widths) - 2), *padded[2:]])


def to_markdown(study: Study, table: Table) -> str:
    """The whole report: all metrics, the caption, the runs that are not in the table."""
    headings, rows = _cells(table, primary=False)
    heading = [f"{top} {bottom}".strip() for top, bottom in headings]
    lines = [heading, ["---" if i <= len(table.keys) else "---:" for i in range(len(heading))], *rows]
    text = [f"# Study {study.folder.resolve().name}", ""]
    text += ["| " + " | ".join(_escape(cell.strip()) for cell in line) + " |" for line in lines]
    for line in caption(study, table):
        text += ["", _escape(line)]
    if left_out := unfinished(study, "run"):
        text += ["", "Not in the table:", "", *(f"- {_escape(line)}" for line in left_out)]
    return "\n".join(text) + "\n"


def to_csv(table: Table) -> str:
    """The table in full precision, see `to_records`."""
    records = to_records(table)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def _cells(table: Table, primary: bool, line_break: str = _ONE_LINE) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """Two-part headings and one text per cell; with `primary`, one metric per task."""
    columns = [column for column in table.columns if column.primary or not primary]
    headings = [("weighting", ""), *((key, "") for key in table.keys), *map(_heading, columns), ("seeds", "")]
    numbers = [_format(table, column, primary, line_break) for column in columns]
    rows = []
    for index, row in enumerate(table.rows):
        keys = ["all" if _is_all(key, row.keys.get(key, ""), table) else row.keys.get(key, "") for key in table.keys]
        rows.append([row.weighting, *keys, *(of_column[index] for of_column in numbers), str(row.seeds or "")])
    return headings, rows


def _heading(column: Column) -> tuple[str, str]:
    metric = column.metric.removesuffix(f"_{column.unit}")
    label = _LABELS.get(metric, metric.replace("_", " "))
    unit = f" ({column.unit})" if column.unit not in ("", "fraction") else ""
    arrow = _ARROWS[column.higher]
    return (column.task, f"{label}{unit}{arrow}") if column.task else (label, f"{unit}{arrow}".strip())


def _format(table: Table, column: Column, primary: bool, line_break: str) -> list[str]:
    """The texts of a column, the decimal points under each other."""
    cells = [row.cells.get(column.key) for row in table.rows]
    decimals = _decimals(column, max(abs(cell.mean) for cell in cells if cell))
    width = max(len(f"{cell.mean:.{decimals}f}") for cell in cells if cell)
    texts = []
    for row, cell in zip(table.rows, cells, strict=True):
        text = "" if cell is None else f"{cell.mean:{width}.{decimals}f}"
        if cell and cell.std is not None and not (primary and column.key == STEP):
            text += f"{line_break}± {cell.std:.{decimals}f}"
        if cell and row.seeds and cell.n != row.seeds:
            text += f" (n={cell.n})"
        texts.append(text)
    return texts


def _decimals(column: Column, largest: float) -> int:
    """Three for fractions, else as many as give the largest number four digits."""
    if column.unit in ("", "fraction"):
        return 3
    return max(0, 4 - len(str(int(largest)))) if largest >= 1 else 4


def _is_all(key: str, value: str, table: Table) -> bool:
    return key == "tasks" and set(value.split("+")) == set(table.tasks)


def _escape(text: str) -> str:
    """Keep a pipe from ending a Markdown cell, and brackets or stars of a path from becoming markup."""
    return "".join(f"\\{c}" if c in "|\\`*<[" else c for c in text)
