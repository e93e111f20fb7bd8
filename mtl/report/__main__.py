"""`python -m mtl.report runs/<study>`: tables, verdicts, figures and dashboard of a study."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mtl.report import report
from mtl.report.compare import Choices


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the report is written; 1: no run is finished yet; 2: a mistake, named in one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m mtl.report", description="Tables, verdicts, figures and dashboard of a study."
    )
    parser.add_argument("study", nargs="+", help="folder of a study, such as runs/default; several are put together")
    parser.add_argument("--baseline", help="row that the others are compared with (default: sum)")
    parser.add_argument("--rows", metavar="KEY,...", help="config keys that tell rows apart; others join the block")
    parser.add_argument("--by", metavar="TASK", default="", help="results per class of TASK, or TASK=20,40 for bins")
    parser.add_argument("--level", type=float, default=Choices.level, help="of the intervals (default: 0.95)")
    parser.add_argument(
        "--margin", type=float, default=Choices.margin, help="points of score that do not matter (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=Choices.seed, help="of bootstrap and Monte Carlo (default: 0)")
    parser.add_argument("--out", metavar="DIR", help="where the files go (default: the folder of the study)")
    parser.add_argument("--no-figures", action="store_true", help="leave out what takes some seconds")
    parser.add_argument("--wandb", action="store_true", help="log tables and figures to W&B (WANDB_MODE, or offline)")
    options = parser.parse_args(arguments)
    try:
        if not 0 < options.level < 1:
            raise ValueError(f"--level {options.level:g}: expected a number between 0 and 1, such as 0.95")
        if not options.margin >= 0:
            raise ValueError(f"--margin {options.margin:g}: expected 0 or more points of score")
        choices = Choices(options.baseline, options.level, options.margin, options.seed)
        rows = [key for key in (options.rows or "").split(",") if key]
        done = report(
            options.study,
            choices,
            by=options.by,
            rows=rows,
            out=options.out,
            figures=not options.no_figures,
            wandb=options.wandb,
        )
        return 0 if done else 1
    except (ValueError, OSError) as error:
        print(f"mtl.report: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
