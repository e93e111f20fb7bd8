"""The study table for a paper: LaTeX with booktabs, as a float for a paper of one's own and as a whole document."""

from __future__ import annotations

from collections.abc import Sequence

from mtl.report.caption import Caption
from mtl.report.render import Mark, grid
from mtl.report.tables import TRIVIAL, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "Δ": r"$\Delta$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line break a bracket would be its argument
    "]": "{]}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\usepackage[margin=1.5cm]{geometry}
\begin{document}
%s\end{document}
"""
_MARKS = {"": "%s", "better": r"{\boldmath\textbf{%s}}", "worse": r"\underline{%s}"}


def to_latex(table: Table, caption: Caption, label: str) -> str:
    """The table as a float, one metric per task, for a paper that uses the package booktabs."""
    headings, rows = grid(table, primary=True)
    words = 1 + len(table.keys)
    tops = [_escape(top) for top, _ in headings]
    bottoms = [_escape(bottom) for _, bottom in headings]
    body = []
    for row, of_row in zip(rows, table.rows, strict=True):
        if of_row.weighting == TRIVIAL:
            body.append(r"\midrule")
        body.append(_line([_cell(text, mark) for text, mark in row]))
    lines = [
        *(f"% {row.label}: {row.command}" for row in table.rows if row.command),
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_escape(' '.join(caption.lines))}}}",
        r"\smallskip",
        rf"\label{{tab:{''.join(c if c.isalnum() else '-' for c in label)}}}",
        rf"\begin{{tabular}}{{@{{}}{'l' * words}{'r' * (len(headings) - words)}@{{}}}}",
        r"\toprule",
        _line(tops),
        _line(bottoms),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_document(float_: str) -> str:
    """A document that compiles as it is, with the float of `to_latex` in it."""
    return _DOCUMENT % float_


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(text: str, mark: Mark) -> str:
    printed = _escape(text.strip())
    if printed[:1] == "-":  # a hyphen is no minus
        printed = f"$-${printed[1:]}"
    return _MARKS[mark] % printed if printed else ""


def _escape(text: str) -> str:
    """`text` with the same letters in print; a letter that pdflatex has not by its code point."""
    return "".join(_SPECIAL.get(c, c if ord(c) < 256 else f"U+{ord(c):04X}") for c in text)
