"""What a finished run measured, as flat numbers."""

from __future__ import annotations

from typing import Any

from mtl.metrics import skill
from mtl.report.collect import COST, Study


def finished(study: Study) -> list[dict[str, Any]]:
    """The finished runs, a mapping each."""
    return [{str(column): value for column, value in run.items()} for run in study.done.to_dict("records")]


def measured(study: Study) -> dict[str, dict[str, float]]:
    """Run -> key -> number: test/TASK/METRIC, trivial/TASK/METRIC, skill/TASK, test/score and val/score (points), cost.

    What a run lacks, or has as null, is no key; the scores are those of runs with all tasks of their data set only.
    """
    metrics: dict[tuple[str, str, str], dict[str, float | None]] = {}
    defined = study.values.dropna(subset="value")  # an accuracy without labels is not
    for run, split, task, metric, value in defined.itertuples(index=False):
        metrics.setdefault((run, split, task), {})[metric] = value
    numbers: dict[str, dict[str, float]] = {}
    whole: dict[str, set[str]] = {}
    for run in finished(study):
        whole.setdefault(run["data"], set()).update(run["tasks"].split("+"))
    for run in finished(study):
        name, own = run["run"], numbers.setdefault(run["run"], {})
        for task in run["tasks"].split("+"):
            test, trivial = metrics.get((name, "test", task), {}), metrics.get((name, "trivial", task), {})
            own |= {f"test/{task}/{metric}": value for metric, value in test.items() if value is not None}
            own |= {f"trivial/{task}/{metric}": value for metric, value in trivial.items() if value is not None}
            first = next((metric for metric in ("mae_years", "accuracy") if metric in test and metric in trivial), None)
            of_task = None if first is None else skill({first: test[first]}, {first: trivial[first]})
            if of_task is not None:
                own[f"skill/{task}"] = of_task
        # The score is a mean over the run's own tasks: with fewer tasks it is another quantity.
        if set(run["tasks"].split("+")) == whole[run["data"]]:
            for split in ("val", "test"):
                score = metrics.get((name, split, ""), {}).get("score")
                if score is not None:
                    own[f"{split}/score"] = 100 * score
        own |= {key: float(run[key]) for key in COST if run[key] is not None}
    return numbers
