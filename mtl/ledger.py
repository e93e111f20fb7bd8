"""What a search leaves: the ledger of its trials, the winners, and the table at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mtl.rundir import RunDir
from mtl.search import Search
from mtl.space import at_edge, words

if TYPE_CHECKING:
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

LEDGER, WINNERS = "trials.csv", "winners.yaml"
_FACTS = ("weighting", "number", "state", "val/score", "seconds", "run", "reason")


def _searches(folder: Path, storage: JournalStorage) -> list[Search]:
    """All of the study, by name; one that another process is just making is left out."""
    import optuna

    searches = [Search(folder, storage, name) for name in sorted(optuna.get_all_study_names(storage))]
    return [search for search in searches if search.trials()]


def _state(trial: FrozenTrial) -> str:
    if trial.state.name == "COMPLETE":
        return "done"
    reason = trial.user_attrs.get("reason")
    return "diverged" if trial.state.name == "FAIL" else "failed" if reason else "open"


def _best(search: Search) -> FrozenTrial | None:
    done = [trial for trial in search.trials() if _state(trial) == "done"]
    return max(done, key=lambda trial: trial.value or 0.0, default=None)


def write(folder: Path, storage: JournalStorage) -> None:
    """Write the ledger, a row per trial, and the winners: weighting -> the overrides of its best trial."""
    from mtl.results import csv_text

    rows, winners = list[list[Any]](), {}
    searches = _searches(folder, storage)
    keys = sorted({key for search in searches for trial in search.trials() for key in trial.params})
    for search in searches:
        for trial in search.trials():
            state, note = _state(trial), trial.user_attrs
            result = [trial.value, note.get("seconds", "")] if state == "done" else ["", ""]
            reason = "" if state == "done" else note.get("reason", "")
            params = {key: "null" if value is None else value for key, value in trial.params.items()}
            facts = [search.name, trial.number, state, *result, note.get("run", ""), reason]
            rows.append([*facts, *(params.get(key, "") for key in keys)])
        if best := _best(search):
            winners[search.name] = {
                "overrides": [*search.study.user_attrs["overrides"], *words(best.params)],
                "val/score": best.value,
                "trial": best.number,
                "trials": sum(trial.state.is_finished() for trial in search.trials()),
                "seed": search.study.user_attrs["made"]["seed"],
            }
    directory = RunDir(folder)
    directory.write(LEDGER, csv_text([(*_FACTS, *keys), *rows]))
    directory.write(WINNERS, yaml.safe_dump(winners, sort_keys=False, allow_unicode=True))


def table(folder: Path, storage: JournalStorage) -> str:
    """Per weighting: its trials, val/score of the first and the best, and what the best one has."""
    rows: list[Sequence[str]] = [("weighting", "done", "diverged", "open", "default", "best", "trial")]
    winners, notes, budgets = [], [], set()
    for search in _searches(folder, storage):
        trials, best = search.trials(), _best(search)
        states = [_state(trial) for trial in trials]
        budgets.add(len(trials))
        unfinished = states.count("open") + states.count("failed")
        first = f"{trials[0].value:.4f}" if states[0] == "done" else "-"
        found = [f"{best.value:.4f}", str(best.number)] if best else ["-", "-"]
        rows.append(
            [search.name, str(states.count("done")), str(states.count("diverged")), str(unfinished), first, *found]
        )
        if best:
            winners.append(f"{search.name}: {' '.join(words(best.params))}")
            far = [f"{key}={value}" for key, value in best.params.items() if at_edge(best.distributions[key], value)]
            notes += [f"{search.name}: {word} is the best and at the edge of its range; search beyond." for word in far]
        reasons = [(trial.number, trial.user_attrs["reason"]) for trial in trials if _state(trial) == "failed"]
        notes += [f"{search.name} {number}: {reason}" for number, reason in reasons]
        if unfinished:
            notes.append(f"{search.name}: {unfinished} trials are open; the same command goes on with them.")
    if len(budgets) > 1:
        notes.append("Not all weightings have the same number of trials: the comparison is not fair yet.")
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    head = f"Search {folder}: val/score of the default (trial 0) and of the best"
    return "\n".join([head, "", *lines, "", *winners, *([""] if notes else []), *notes])
