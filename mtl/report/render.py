"""The study table for eyes: rich on a terminal, aligned text elsewhere, Markdown; and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mtl.report.caption import Caption
from mtl.report.collect import Study
from mtl.report.rows import STEP
from mtl.report.tables import Column, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

_LABELS = {"mae": "MAE", "rmse_log": "RMSE", "f1_macro": "macro F1"}
_ARROWS = {True: " ↑", False: " ↓"}
#: one line of a cell, or two where a terminal is too narrow
_ONE_LINE, _TWO_LINES = " ", "\n"
Mark = Literal["", "better", "worse"]


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
    styles = {"": "", "better": "bold", "worse": "underline"}
    for line_break in (_ONE_LINE, _TWO_LINES):
        headings, rows = grid(table, primary=True, line_break=line_break)
        padding = 1 if line_break == _ONE_LINE else 0
        drawn = RichTable(
            box=box.SIMPLE_HEAD, padding=(0, padding), collapse_padding=True, pad_edge=False, show_edge=False
        )
        for top, bottom in headings:
            drawn.add_column(Text(f"{top}\n{bottom}".replace(" (", f"{line_break}(")), no_wrap=True)
        for row in rows:
            drawn.add_row(*(Text(text, styles[mark]) for text, mark in row))
        if Measurement.get(console, console.options, drawn).maximum <= width:
            return drawn
    return None


def to_text(table: Table) -> str:
    """The table as aligned text of any width."""
    headings, rows = grid(table, primary=True)
    tops, bottoms = zip(*headings, strict=True)
    return aligned([tops, bottoms], [[text for text, _ in row] for row in rows])


def aligned(headings: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> str:
    """Lines of headings, a rule, and rows, each column as wide as its widest cell."""
    lines = [*headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([*padded[: len(headings)], rule, *padded[len(headings) :]])


def to_markdown(study: Study, table: Table, caption: Caption) -> str:
    """The whole report: all metrics, every comparison, the commands, the runs that are not in the table."""
    headings, rows = grid(table, primary=False)
    heading = [f"{top} {bottom}".strip() for top, bottom in headings]
    marks = {"": "{}", "better": "**{}**", "worse": "<ins>{}</ins>"}
    body = [[marks[mark].format(escape(text.strip())) if text else "" for text, mark in row] for row in rows]
    lines = [f"# Study {escape(study.name)}", "", *markdown(heading, body, left=1 + len(table.keys))]
    for line in caption.lines:
        lines += ["", escape(line)]
    if caption.verdicts:
        lines += ["", f"## {escape(caption.heading)}", "", *(f"- {escape(line)}" for line in caption.verdicts)]
    if caption.comparisons:
        cells = [[escape(text) for text in one.values()] for one in caption.comparisons]
        lines += ["", *markdown(list(caption.comparisons[0]), cells, left=1)]
    for line in caption.notes:
        lines += ["", escape(line)]
    if commands := [(row.label, row.command) for row in table.rows if row.command]:
        lines += ["", "## Commands", "", *(f"- {escape(label)}: `{command}`" for label, command in commands)]
    if left_out := unfinished(study, "run"):
        lines += ["", "## Not in the table", "", *(f"- {escape(line)}" for line in left_out)]
    return "\n".join(lines) + "\n"


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Records of equal keys in full precision, see `tables.to_records`."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def grid(
    table: Table, primary: bool, line_break: str = _ONE_LINE
) -> tuple[list[tuple[str, str]], list[list[tuple[str, Mark]]]]:
    """Two-part headings, and per cell its text and whether its interval puts it above or below the baseline.

    With `primary`, one metric per task.
    """
    columns = [column for column in table.columns if column.primary or not primary]
    headings = [("weighting", ""), *((key, "") for key in table.keys), *map(heading, columns), ("seeds", "")]
    numbers = [_format(table, column, primary, line_break) for column in columns]
    rows: list[list[tuple[str, Mark]]] = []
    for index, row in enumerate(table.rows):
        keys = ["all" if _is_all(key, row.keys.get(key, ""), table) else row.keys.get(key, "") for key in table.keys]
        texts: list[tuple[str, Mark]] = [(text, "") for text in (row.weighting, *keys)]
        texts += [(of_column[index], _mark(table, index, c)) for of_column, c in zip(numbers, columns, strict=True)]
        rows.append([*texts, (str(row.seeds or ""), "")])
    return headings, rows


def heading(column: Column) -> tuple[str, str]:
    """Task and metric with unit and arrow; or a score's name, and its unit and arrow."""
    metric = column.metric.removesuffix(f"_{column.unit}").removesuffix("_ms")
    label = _LABELS.get(metric, metric.replace("_", " "))
    unit = f" ({column.unit})" if column.unit not in ("", "fraction") else ""
    arrow = _ARROWS[column.higher]
    return (column.task, f"{label}{unit}{arrow}") if column.task else (label, f"{unit}{arrow}".strip())


def _mark(table: Table, index: int, column: Column) -> Mark:
    cell = table.rows[index].cells.get(column.key)
    said = cell.compared.verdict if cell and cell.compared else ""
    return "better" if said == "better" else "worse" if said == "worse" else ""


def _format(table: Table, column: Column, primary: bool, line_break: str) -> list[str]:
    """The texts of a column, the decimal points under each other."""
    cells = [row.cells.get(column.key) for row in table.rows]
    decimals = decimals_of(column, max(abs(cell.mean) for cell in cells if cell))
    width = max(len(f"{cell.mean:.{decimals}f}") for cell in cells if cell)
    texts = []
    for row, cell in zip(table.rows, cells, strict=True):
        text = "" if cell is None else f"{cell.mean:{width}.{decimals}f}"
        if cell and row.seeds and cell.std is not None and not (primary and column.key == STEP):
            text += f"{line_break}± {cell.std:.{decimals}f}"
        if cell and row.seeds and cell.n != row.seeds:
            text += f" (n={cell.n})"
        texts.append(text)
    return texts


def decimals_of(column: Column, largest: float) -> int:
    """Three for fractions, two for points and percent, else as many as give the largest number four digits."""
    if column.unit in ("", "fraction"):
        return 3
    if column.unit in ("points", "%"):
        return 2
    return max(0, 4 - len(str(int(largest)))) if largest >= 1 else 4


def _is_all(key: str, value: str, table: Table) -> bool:
    return key == "tasks" and set(value.split("+")) == set(table.tasks)


def markdown(heading: Sequence[str], body: Sequence[Sequence[str]], left: int) -> list[str]:
    """A Markdown table; `body` is escaped; the first `left` columns are words, the others numbers."""
    rule = ["---" if i < left else "---:" for i in range(len(heading))]
    return ["| " + " | ".join(line) + " |" for line in ([escape(cell) for cell in heading], rule, *body)]


def escape(text: str) -> str:
    """Keep a pipe from ending a Markdown cell, and brackets or stars of a path from becoming markup."""
    return "".join(f"\\{c}" if c in "|\\`*<[" else c for c in text)
