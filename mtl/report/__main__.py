"""`python -m mtl.report runs/<study>`: print the table of a study and rewrite its files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mtl.report import report


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the table is written; 1: no run is finished yet; 2: a mistake, named in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m mtl.report", description="Print and write the table of a study.")
    parser.add_argument("study", help="folder of the study, such as runs/default")
    try:
        return 0 if report(parser.parse_args(arguments).study) else 1
    except (ValueError, OSError) as error:
        print(f"mtl.report: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
