"""Reports: run directories in; tables, verdicts, figures and a dashboard out. Reads files only; never imports torch."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from mtl.report.compare import Choices


def report(
    folders: Sequence[str | Path],
    choices: Choices | None = None,
    *,
    by: str = "",
    rows: Sequence[str] = (),
    out: str | Path | None = None,
    figures: bool = True,
    wandb: bool = False,
) -> bool:
    """Print table and verdicts of a study, and write them with figures and dashboard; False if no run is finished yet.

    Args:
        folders: one study, or several that are put together.
        choices: baseline, level, margin, seed.
        by: TASK or TASK=20,40,60: results per group of pictures, too.
        rows: config keys that alone tell rows apart.
        out: where the files go; the study's own folder if it is one.
        figures: draw them, which takes some seconds.
        wandb: log tables and figures to the W&B run `aggregate` of the study.

    Raises:
        ValueError: a folder is no study, or a choice does not fit it.
        OSError: the files cannot be written; the table is printed by then.
    """
    from rich.console import Console

    from mtl.report import dashboard, groups, html, latex, render
    from mtl.report.arrange import arrange
    from mtl.report.caption import describe
    from mtl.report.collect import collect
    from mtl.report.compare import Choices, Comparisons
    from mtl.report.tables import build, comparison_records, to_records
    from mtl.rundir import RunDir

    if isinstance(sys.stdout, io.TextIOWrapper):  # an encoding without arrows must not lose the table
        sys.stdout.reconfigure(errors="replace")
    console = Console(markup=False, highlight=False, emoji=False)
    study = collect(*folders)
    if out is None and len(study.folders) > 1:
        raise ValueError("several studies have no folder of their own; say with --out DIR where the report goes")
    folder = Path(out) if out is not None else study.folders[0]
    left_out = render.unfinished(study)
    if study.done.empty:
        _list(console, "Not in the table:", left_out)
        console.print(f"\nNo run in {study.title} is finished: there is no table yet.", soft_wrap=True)
        return False
    comparisons = Comparisons(arrange(study, rows), choices or Choices())
    table = build(comparisons)
    caption = describe(study, table, comparisons)
    grouped = groups.group(comparisons.rows, by) if by else []
    console.print(f"\nStudy {study.title}\n")
    rich = render.to_rich(table, console.width) if console.is_terminal else None
    console.print(rich or render.to_text(table), soft_wrap=rich is None)
    console.print("", *caption.lines, sep="\n", soft_wrap=not console.is_terminal)
    _list(console, f"{caption.heading}:", caption.verdicts)
    if caption.notes:
        console.print("", *caption.notes, sep="\n", soft_wrap=not console.is_terminal)
    for one in grouped:
        console.print(f"\n{groups.to_text(one)}", soft_wrap=True)
    _list(console, "Not in the table:", left_out)
    float_ = latex.to_latex(table, caption, study.name)
    files = {
        "table.md": render.to_markdown(study, table, caption) + "".join(map(groups.to_markdown, grouped)),
        "table.csv": render.to_csv(to_records(table)),
        "comparisons.csv": render.to_csv(comparison_records(table)),
        "table.html": html.to_html(study, table, caption),
        "table.tex": latex.to_document(float_),
        "table_input.tex": float_,
    }
    if grouped:
        files["groups.csv"] = render.to_csv([record for one in grouped for record in groups.to_records(one)])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with RunDir(folder).replacing(name) as path:
            path.write_text(text, encoding="utf-8")
    dashboard.write(comparisons, folder / "dashboard.html")
    console.print(f"\nWritten: {folder}/{', '.join(files)}", soft_wrap=True)
    drawn: list[Path] = []
    if figures:
        from mtl.report.figures import draw

        found = draw(comparisons, folder)
        drawn = found.paths
        names = ", ".join(path.stem for path in drawn if path.suffix == ".png")
        console.print(f"Figures: {folder}/figures: {names}", soft_wrap=True)
        _list(console, "Not drawn:", [f"{name}: {reason}" for name, reason in found.skipped.items()])
    else:
        console.print(f"Figures: python -m mtl.report {folder}", soft_wrap=True)
    console.print(f"Dashboard: {folder}/dashboard.html (open it in a browser)", soft_wrap=True)
    if wandb:
        from mtl.report import aggregate

        words = aggregate.log(comparisons.rows, folder, to_records(table), comparison_records(table), drawn)
        console.print(f"W&B: {words}", soft_wrap=True)
    return True


def _list(console: Console, heading: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(f"\n{heading}", *lines, sep="\n  ", soft_wrap=True)
