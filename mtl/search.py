"""The search of one weighting: its trials, in a journal that several processes may share."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mtl.identity import scientific
from mtl.rundir import RunDir
from mtl.space import bounds_of, short, words

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

JOURNAL = "tune.journal"


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """One process at a time, over network file systems too; a lock whose process was killed gives way after 30 s."""
    from optuna.storages.journal import JournalFileOpenLock

    lock = JournalFileOpenLock(str(path))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def open_journal(folder: Path) -> JournalStorage:
    """The trials of the study in `folder`.

    Raises:
        ValueError: the file is damaged.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / JOURNAL
    with _held(path):  # that of Optuna's writers
        if path.exists() and not (text := path.read_bytes()).endswith(b"\n"):
            # A full disk or a power cut has left half a line, and the next one would be added to it.
            with path.open("r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)
    try:
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged ({' '.join(str(error).split())}); move it away and give the same command again: runs "
            "that are done are found and not trained again."
        ) from error


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters: `[*shared, *own]` are the overrides of run.py that make its run."""

    number: int
    shared: list[str]  # the last one names the weighting
    own: list[str]


class Search:
    """One weighting's trials.

    Args:
        folder: the study's, with the journal and the runs.
        storage: that journal, opened.
        name: of the weighting.
    """

    def __init__(self, folder: Path, storage: JournalStorage, name: str) -> None:
        import optuna

        self.folder, self.storage, self.name = folder, storage, name
        self.study: Study = optuna.load_study(study_name=name, storage=storage)
        self.space: dict[str, BaseDistribution] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        storage: JournalStorage,
        overrides: Sequence[str],
        config: Mapping[str, Any],
        space: Mapping[str, tuple[BaseDistribution, Any]],
    ) -> Self:
        """The search that `overrides` describe, begun or gone on with.

        Raises:
            ValueError: the journal has another one for this weighting.
        """
        import optuna
        from optuna.distributions import distribution_to_json

        name = config["names"]["weighting"]
        optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        search = cls(folder, storage, name)
        made: dict[str, Any] = scientific(config) | {"seed": config["seed"]}
        made |= {f"search range of {key}": distribution_to_json(value) for key, (value, _) in space.items()}
        made = json.loads(json.dumps(made))
        with _held(folder / "tune.ask"):
            known = search.study.user_attrs
            if "default" not in known:
                search.study.set_user_attr("made", made)
                search.study.set_user_attr("default", {key: value for key, (_, value) in space.items()})
            before = known.get("made", made)
            for key in sorted(before.keys() | made.keys()):
                if before.get(key) != made.get(key):
                    raise ValueError(
                        f"{folder} has a search of {name} with {key}={before.get(key)}, this command has "
                        f"{made.get(key)}; give another study=NAME."
                    )
            if known.get("overrides") != list(overrides):  # what does not change a run, such as train.threads, may
                search.study.set_user_attr("overrides", list(overrides))
        search.space = {key: value for key, (value, _) in space.items()}
        return search

    def trials(self) -> list[FrozenTrial]:
        """All trials so far, by number, those of other processes too."""
        return self.study.get_trials(deepcopy=False)

    def left(self) -> list[Trial]:
        """Trials without an end: a process was killed over them, failed over them, or still trains them."""
        return [self._trial(trial) for trial in self.trials() if not trial.state.is_finished()]

    def ask(self, trials: int) -> Trial | None:
        """The next trial, None if there are `trials`. The first is the config as it is.

        What is drawn depends on the seed, the number and the trials before, not on the process.
        """
        from optuna.trial import TrialState, create_trial

        with _held(self.folder / "tune.ask"):
            known = self.trials()
            if len(known) >= trials:
                return None
            params = self._draw(known) if known else self.study.user_attrs["default"]
            # At once and whole: a process that is killed leaves a trial with its parameters, or none.
            self.study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=self.space))
            return self._trial(self.trials()[len(known)])

    def _draw(self, known: Sequence[FrozenTrial]) -> dict[str, Any]:
        import optuna

        seed = zlib.crc32(f"{self.study.user_attrs['made']['seed']}-{len(known)}".encode())
        # Without the weighting's name: as long as draws are random, all weightings see the same rates.
        copy = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        copy.add_trials(known)
        params = copy.ask(self.space).params
        for key, value in params.items():
            if isinstance(value, float) and (bounds := bounds_of(self.space[key])):
                params[key] = min(max(short(value), bounds[0]), bounds[1])
        return params

    def _trial(self, trial: FrozenTrial) -> Trial:
        return Trial(trial.number, list(self.study.user_attrs["overrides"]), words(trial.params))

    def _run_of(self, trial: Trial) -> RunDir | None:
        """The run that was begun with the trial's overrides."""
        tail = [trial.shared[-1], *trial.own]
        for path in self.folder.glob(f"{self.name}-*/status.json"):
            run = RunDir(path.parent)
            if run.status().get("overrides", [])[-len(tail) :] == tail:
                return run
        return None

    def tell(self, trial: Trial, score: float | None, reason: str) -> bool:
        """Record how a trial's process ended; False if another process is training it.

        A number is its score. A run that became not finite is over, without one. All else (killed, a full disk) leaves
        the trial open, with the reason: the same command tries it again, as run.py does.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        run = self._run_of(trial)
        state, said = run.state() if run else ("", "")
        if run:
            self._note(trial, run=run.path.name, seconds=(run.read("cost.json") or {}).get("train_s"))
        with suppress(UpdateFinishedTrialError):  # another process has found its score, too
            if score is not None and math.isfinite(score):
                self.study.tell(trial.number, score, skip_if_finished=True)
            elif state == "done" or (state == "failed" and said.startswith("FloatingPointError")):
                self._note(trial, reason=said or "no validation score")
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            elif state == "running":
                return False
            else:
                self._note(trial, reason=said if state == "failed" else "" if reason == "interrupted" else reason)
        return True

    def _note(self, trial: Trial, **facts: Any) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        study = self.storage.get_study_id_from_name(self.name)
        number = self.storage.get_trial_id_from_study_id_trial_number(study, trial.number)
        with suppress(UpdateFinishedTrialError):
            for key, value in facts.items():
                if value is not None:
                    self.storage.set_trial_user_attr(number, key, value)
