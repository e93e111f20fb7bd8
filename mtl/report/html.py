"""The report as one HTML page without scripts, for a mail or a wiki; the dashboard is `dashboard.py`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mtl.report.caption import Caption
from mtl.report.collect import Study
from mtl.report.render import grid, unfinished
from mtl.report.tables import Table

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .25rem .75rem; text-align: right }
th { border-bottom: 1px solid; vertical-align: bottom; font-weight: 600 }
tbody tr:last-child td { border-bottom: 1px solid }
.word { text-align: left }
.better { font-weight: 700 }
.worse { text-decoration: underline }
code { overflow-wrap: anywhere }
"""


def to_html(study: Study, table: Table, caption: Caption) -> str:
    """All metrics, the caption, every comparison, the commands, the runs that are not in the table."""
    headings, rows = grid(table, primary=False)
    title = escape(f"Study {study.name}")
    words = 1 + len(table.keys)
    body = [[(escape(text.strip()), mark) for text, mark in row] for row in rows]
    parts = [f"<h1>{title}</h1>", _table(["<br>".join(map(escape, two)) for two in headings], body, words)]
    parts += [f"<p>{escape(line)}</p>" for line in caption.lines]
    if caption.verdicts:
        parts += [f"<h2>{escape(caption.heading)}</h2>", _list(caption.verdicts)]
    if caption.comparisons:
        columns = [escape(name) for name in caption.comparisons[0]]
        cells = [[(escape(text), "") for text in one.values()] for one in caption.comparisons]
        parts.append(_table(columns, cells, words=1))
    parts += [f"<p>{escape(line)}</p>" for line in caption.notes]
    if commands := [row for row in table.rows if row.command]:
        items = [f"{escape(row.label)}: <code>{escape(row.command)}</code>" for row in commands]
        parts += ["<h2>Commands</h2>", f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"]
    if left_out := unfinished(study, "run"):
        parts += ["<h2>Not in the table</h2>", _list(left_out)]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    content = "\n".join(parts)
    head += f"<style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{content}\n</body></html>\n'


def _table(headings: Sequence[str], body: Sequence[Sequence[tuple[str, str]]], words: int) -> str:
    """A table of escaped cells with a class each; the first `words` columns are words, the others numbers."""

    def classes(column: int, mark: str = "") -> str:
        names = " ".join(["word"] * (column < words) + [mark] * bool(mark))
        return f' class="{names}"' if names else ""

    head = "".join(f'<th scope="col"{classes(i)}>{text}</th>' for i, text in enumerate(headings))
    rows = ["".join(f"<td{classes(i, mark)}>{text}</td>" for i, (text, mark) in enumerate(row)) for row in body]
    lines = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
