"""Reports: run directories in, tables out. Reads files only; never imports torch."""

from __future__ import annotations

import io
import sys
from pathlib import Path


def report(folder: str | Path) -> bool:
    """Print the table of the study in `folder` and write it there; False if no run is finished yet.

    Raises:
        ValueError: `folder` is not a study.
        OSError: the files cannot be written; the table is printed by then.
    """
    from rich.console import Console

    from mtl.report import render
    from mtl.report.collect import collect
    from mtl.report.tables import build
    from mtl.rundir import RunDir

    if isinstance(sys.stdout, io.TextIOWrapper):  # an encoding without arrows must not lose the table
        sys.stdout.reconfigure(errors="replace")
    console = Console(markup=False, highlight=False, emoji=False)
    study = collect(folder)
    left_out = render.unfinished(study)
    if not study.done.empty:
        table = build(study)
        console.print(f"\nStudy {study.folder}\n")
        drawn = render.to_rich(table, console.width) if console.is_terminal else None
        console.print(drawn or render.to_text(table), soft_wrap=drawn is None)
        console.print("", *render.caption(study, table), sep="\n", soft_wrap=not console.is_terminal)
    if left_out:
        console.print("\nNot in the table:", *left_out, sep="\n  ", soft_wrap=True)
    if study.done.empty:
        console.print(f"\nNo run in {study.folder} is finished: there is no table yet.", soft_wrap=True)
        return False
    for name, text in (("table.md", render.to_markdown(study, table)), ("table.csv", render.to_csv(table))):
        with RunDir(study.folder).replacing(name) as path:
            path.write_text(text, encoding="utf-8")
    console.print(f"\nWritten: {study.folder}/table.md, table.csv", soft_wrap=True)
    return True
