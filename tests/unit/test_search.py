"""The search of every weighting, without training: what is searched, what is asked, what is told, what is written."""

from __future__ import annotations

import copy
import csv
import functools
import math
from pathlib import Path
from threading import Thread

import pytest
import yaml
from optuna.trial import TrialState, create_trial

from mtl.build import build_weighting
from mtl.config import CONF, compose
from mtl.identity import hash8
from mtl.ledger import table, write
from mtl.rundir import RunDir
from mtl.search import JOURNAL, Search, open_journal
from mtl.space import at_edge, bounds_of, space, words
from mtl.tasks import build_tasks
from mtl.tune import _lines, main

METHODS = ["dwa", "dtp", "cov", "uw_so", "cagrad", "stch", "famo", "gradnorm", "fairgrad", "moco", "db_mtl"]
METHODS += ["excess_mtl", "slaw", "gradvac", "constant"]


def learnt(config) -> bool:
    tasks = build_tasks(config["tasks"], config["data"]["tasks"], config["age_target"], 1, 0.0)
    return any(True for _ in build_weighting(config, tasks).parameters())


def spaces(*overrides):
    config = compose(overrides)
    return space(config, learnt(config))


@functools.cache
def composed(weighting: str):
    return compose([f"weighting={weighting}"])


def test_every_weighting_has_a_space_that_holds_its_defaults(weighting_name):
    """A key under `search` that the method does not have, or a default outside of its range, is an error there."""
    config = composed(weighting_name)
    found = space(config, learnt(config))
    assert {"optimizer.lr", "optimizer.weight_decay"} <= set(found)
    assert ("control.lr" in found) == learnt(config)
    named = {key.split(".")[2] for key in found if key.startswith("weighting.method.")}
    assert named == set(config["weighting"].get("search") or {})
    again = compose([f"weighting={weighting_name}", *words({key: default for key, (_, default) in found.items()})])
    if weighting_name == "constant":  # whose weights of 1 stand for none
        again["weighting"]["method"]["weights"] = None
    assert hash8(again) == hash8(config)


def test_both_ends_of_every_range_can_be_built(weighting_name):
    config = copy.deepcopy(composed(weighting_name))
    method = config["weighting"]["method"]
    for end in (0, 1):
        for key, (distribution, _) in space(composed(weighting_name), False).items():
            node, *_, name = key.split(".")
            bounds = bounds_of(distribution)
            if "method.weights." in key:
                method["weights"] = (method["weights"] or {}) | {name: bounds[end]}
            elif node == "weighting":
                method[name] = bounds[end] if bounds else distribution.choices[-end]
        learnt(config)


def test_methods_with_hyperparameters_that_matter_are_searched():
    for name in METHODS:
        assert yaml.safe_load((CONF / "weighting" / f"{name}.yaml").read_text())["search"], name


def test_the_tasks_of_constant_weights_come_from_the_data_set():
    found = spaces("weighting=constant", "data=utkface")
    assert [key.rpartition(".")[2] for key in found if "weights" in key] == ["gender", "ethnicity"]
    own = words({"weighting.method.weights.gender": 2.0, "weighting.method.weights.ethnicity": 1e-05})
    for before, weights in (([], {}), (["weighting.method.weights={age:50}"], {"age": 50})):
        config = compose(["weighting=constant", "data=utkface", *before, *own])
        assert config["weighting"]["method"]["weights"] == weights | {"gender": 2.0, "ethnicity": 1e-05}


def test_rates_are_searched_around_those_of_the_config():
    for lr in (0.003, 0.1):
        distribution, default = spaces("weighting=uncertainty", f"optimizer.lr={lr}")["optimizer.lr"]
        assert bounds_of(distribution) == pytest.approx((lr / 10, lr * 10, True))
        assert default == lr
    assert "optimizer.weight_decay" not in spaces("weighting=sum", "optimizer.weight_decay=0")


def test_a_prescale_is_searched_too():
    found = spaces("weighting=pcgrad", "weighting@prescale=uw_so")
    assert "prescale.method.tau" in found


def test_what_is_searched_makes_no_other_run():
    pair = ["weighting=slaw", "weighting@prescale=uw_so"]
    ranges = ["weighting.search.beta.choices=[0.99]", "prescale.search.tau.high=30"]
    assert hash8(compose([*pair, *ranges])) == hash8(compose(pair))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "+weighting.search.heat={low:1,high:2}",
            "weighting.search.heat: the method has no such hyperparameter, only t",
        ),
        ("weighting.search.temperature={lo:1}", "search range of weighting.method.temperature: {'low'"),
        ("weighting.search.temperature.high=0.1", "search range of weighting.method.temperature"),
        ("weighting.method.temperature=50", "weighting.method.temperature=50: outside of the range"),
    ],
)
def test_a_range_that_is_none_is_named(override, sentence):
    override = override if "lo:1" not in override else "+weighting.search.temperature.step=x"
    with pytest.raises(ValueError, match=sentence.replace("{", r"\{").replace("+", r"\+")):
        spaces("weighting=dwa", override)


def test_whole_numbers_choices_and_edges():
    found = spaces("weighting=stch", "+weighting.search.warmup_epochs={low:1,high:5}", "weighting=stch")
    distribution, default = found["weighting.method.warmup_epochs"]
    assert type(distribution).__name__ == "IntDistribution"
    assert default == 1
    rate = found["optimizer.lr"][0]  # 0.0003 to 0.03, two decades: 3 % of them is a factor of 1.15
    assert [at_edge(rate, value) for value in (0.0003, 0.00034, 0.0036, 0.027, 0.03)] == [True, True, False, True, True]
    assert not at_edge(spaces("weighting=cov")["weighting.method.decay"][0], None)


class Journal:
    """Searches of a folder, as one process after the other opens them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name="dwa", *overrides) -> Search:
        line = [f"runs_dir={self.folder.parent}", "study=tuned", *overrides, f"weighting={name}"]
        config = compose(line)
        storage = open_journal(self.folder)
        return Search.open(
            self.folder, storage, [*overrides, f"weighting={name}"], config, space(config, learnt(config))
        )

    def run(self, trial, status="done", **facts) -> None:
        """What a run with the trial's overrides leaves."""
        run = RunDir(self.folder / f"dwa-resnet18-{abs(hash(tuple(trial.own))):08x}-s0")
        run.begin(overrides=["train.keep=none", *trial.shared, *trial.own])
        if status == "done":
            run.write_json("cost.json", {"train_s": 12.5})
        run.end(status, facts.get("error"))

    def ledger(self) -> list[dict[str, str]]:
        return list(csv.DictReader((self.folder / "trials.csv").read_text().splitlines()))


@pytest.fixture
def journal(tmp_path) -> Journal:
    (tmp_path / "tuned").mkdir()
    return Journal(tmp_path / "tuned")


def test_the_first_trial_is_the_config_as_it_is_and_the_number_is_kept(journal):
    search = journal.open()
    first = search.ask(3)
    assert first.own == ["optimizer.lr=0.003", "optimizer.weight_decay=0.05", "weighting.method.temperature=2.0"]
    others = [search.ask(3), search.ask(3)]
    assert [trial.number for trial in others] == [1, 2]
    assert search.ask(3) is None
    assert journal.open().ask(4).number == 3, "more trials go on from there"


def test_draws_depend_on_seed_number_and_results_not_on_the_process(journal, tmp_path):
    """Ten random draws and results, then Parzen estimators; one of the two is opened anew in between."""
    (tmp_path / "other").mkdir()
    other = Journal(tmp_path / "other")
    search, reopened, drawn = journal.open(), other.open(), []
    for number in range(12):
        if number in (1, 5, 11):
            reopened = other.open()
        ours, theirs = search.ask(12), reopened.ask(12)
        assert ours == theirs
        drawn.append(tuple(ours.own))
        for one in (search, reopened):
            one.tell(ours, -((number - 5) ** 2) / 100, "")
    assert len(set(drawn)) == 12
    assert [trial.value for trial in search.trials()] == [trial.value for trial in other.open().trials()]
    (tmp_path / "third").mkdir()
    third = Journal(tmp_path / "third").open("dwa", "seed=1")
    assert [third.ask(2).own for _ in range(2)][1] != list(drawn[1])


def test_all_weightings_draw_the_same_rates_at_first(journal):
    first, second = journal.open("dwa"), journal.open("sum")
    for _ in range(5):
        assert first.ask(9).own[:2] == second.ask(9).own[:2]


def test_numbers_are_short_and_inside_their_range(journal):
    search = journal.open("famo")
    for _ in range(12):
        search.ask(12)
    for trial in search.trials():
        for key, value in trial.params.items():
            assert value == float(f"{value:.4g}")
            low, high, _ = bounds_of(search.space[key])
            assert low <= value <= high


def test_processes_that_ask_at_once_share_the_trials(journal, monkeypatch):
    """The other one asks just after this one has looked which trials there are, and must wait."""
    search, other = journal.open(), journal.open()
    search.ask(3)
    asked = []
    thread = Thread(target=lambda: asked.extend([other.ask(3), other.ask(3)]))
    draw = search._draw

    def slowly(known):
        thread.start()
        thread.join(timeout=1)  # long enough for both, if nothing held them
        return draw(known)

    monkeypatch.setattr(search, "_draw", slowly)
    ours = search.ask(3)
    thread.join()
    assert ours.number == 1
    assert [trial and trial.number for trial in asked] == [2, None]
    assert len({tuple(trial.params.items()) for trial in search.trials()}) == 3


def test_what_is_told(journal):
    search = journal.open()
    done, diverged, killed, full, interrupted, elsewhere = (search.ask(6) for _ in range(6))
    journal.run(done)
    search.tell(done, 0.5, "")
    journal.run(diverged, "failed", error=FloatingPointError("loss of age not finite in epoch 0, step 3"))
    search.tell(diverged, -math.inf, "")
    search.tell(killed, None, "killed by SIGKILL, perhaps for want of memory")
    journal.run(full, "failed", error=OSError(28, "No space left on device"))
    search.tell(full, -math.inf, "")
    journal.run(interrupted, "interrupted")
    search.tell(interrupted, None, "interrupted")
    search.tell(elsewhere, math.nan, "")

    again = journal.open()
    assert [trial.number for trial in again.left()] == [2, 3, 4, 5], "what has no end is tried again"
    assert [trial.own for trial in again.left()] == [t.own for t in (killed, full, interrupted, elsewhere)]
    assert again.ask(6) is None, "and counted once"
    write(journal.folder, again.storage)
    rows = journal.ledger()
    assert [row["state"] for row in rows] == ["done", "diverged", "failed", "failed", "open", "open"]
    assert [row["val/score"] for row in rows] == ["0.5"] + [""] * 5
    assert rows[0]["seconds"] == "12.5"
    assert (journal.folder / rows[0]["run"] / "status.json").is_file()
    assert "not finite in epoch 0" in rows[1]["reason"]
    assert "SIGKILL" in rows[2]["reason"]
    assert "No space left" in rows[3]["reason"]
    assert [float(row["optimizer.lr"]) for row in rows] == [trial.params["optimizer.lr"] for trial in again.trials()]

    for trial in again.left():
        again.tell(trial, 0.1 * trial.number, "")
        again.tell(trial, 0.9, "")  # another process's, too late
    assert again.left() == []
    write(journal.folder, again.storage)
    rows = journal.ledger()
    assert [row["state"] for row in rows] == ["done", "diverged", *["done"] * 4]
    assert [row["reason"] for row in rows if row["state"] == "done"] == [""] * 5
    winners = yaml.safe_load((journal.folder / "winners.yaml").read_text())
    assert winners["dwa"]["trial"] == 0
    assert winners["dwa"]["overrides"] == ["weighting=dwa", *done.own]


def test_a_trial_that_is_done_without_a_score_is_never_chosen(journal):
    search = journal.open()
    trial = search.ask(1)
    journal.run(trial)
    search.tell(trial, math.nan, "")
    assert search.left() == []
    write(journal.folder, search.storage)
    assert yaml.safe_load((journal.folder / "winners.yaml").read_text()) == {}
    assert "no validation score" in (journal.folder / "trials.csv").read_text()


def test_the_table_says_what_is_at_an_edge_and_what_is_not_fair(journal):
    search, other = journal.open(), journal.open("sum")
    for _ in range(3):
        trial = search.ask(3)
        search.tell(trial, 0.5 if trial.number else 0.3, "")
    other.tell(other.ask(1), 0.4, "")
    text = table(journal.folder, search.storage)
    assert "dwa        3     0         0     0.3000   0.5000  1" in text
    assert "sum        1     0         0     0.4000   0.4000  0" in text
    assert "sum: optimizer.lr=0.003 optimizer.weight_decay=0.05" in text
    assert "same number of trials" in text
    assert "edge" not in text


def test_the_table_names_what_is_best_at_an_edge(journal):
    search = journal.open()
    search.ask(1)
    params = search.trials()[0].params | {"weighting.method.temperature": 9.9}
    search.study.add_trial(
        create_trial(state=TrialState.COMPLETE, value=0.5, params=params, distributions=search.space)
    )
    text = table(journal.folder, search.storage)
    assert "dwa: weighting.method.temperature=9.9 is the best and at the edge of its range" in text
    assert text.count("edge") == 1
    assert "dwa: 1 trials are open" in text


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["train.epochs=3"], "train.epochs=5, this command has 3"),
        (["seed=4"], "seed=0, this command has 4"),
        (["weighting.search.temperature.high=20"], "search range of weighting.method.temperature="),
        (["optimizer.lr=0.01"], "optimizer.lr=0.003, this command has 0.01"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(journal, overrides, named):
    journal.open().ask(1)
    with pytest.raises(ValueError, match=named) as error:
        journal.open("dwa", *overrides)
    assert "give another study=NAME" in str(error.value)
    if not overrides[0].startswith("weighting."):
        journal.open("sum", *overrides)
    changed = journal.open("dwa", "train.threads=1")
    assert changed.left()[0].shared == ["train.threads=1", "weighting=dwa"]


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(journal):
    search = journal.open()
    search.ask(5)
    with (journal.folder / JOURNAL).open("a") as file:
        file.write('{"op_code":4,"worker_id":"')
    again = journal.open()
    again.ask(5)
    assert [trial.number for trial in journal.open().trials()] == [0, 1]


def test_a_damaged_journal_is_said(journal):
    journal.open().ask(5)
    path = journal.folder / JOURNAL
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(ValueError, match=r"tune\.journal is damaged .*; move it away"):
        journal.open()


def test_the_lines_of_a_command_and_of_a_sweep():
    assert list(_lines(["data=utkface", "weighting=sum,dwa", "seed=3"])) == [
        ["data=utkface", "seed=3", "weighting=sum"],
        ["data=utkface", "seed=3", "weighting=dwa"],
    ]
    names = [line[-1] for line in _lines(["sweep=tune"])]
    assert {"weighting=sum", "weighting=constant", "weighting=rlw"} < set(names)
    assert len(names) == len(set(names)) == 8
    assert list(_lines(["sweep=tune", "weighting=dwa"])) == [["sweep=tune", "weighting=dwa"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["weighting=nope"], "weighting=nope: there is no such weighting"),
        (["weighting=sum", "--trials", "0"], "--trials 0: expected at least 1"),
        (["study=x"], "weighting is missing"),
        (["runs/tune"], "runs/tune: expected KEY=VALUE"),
        (["sweep=nope"], "sweep=nope: there is no such sweep"),
        (["weighting=sum", "seed=0,1"], "seed has several values: a search varies the weighting"),
        (["weighting=sum", "mode=check"], "mode=check: a search trains"),
        (["weighting=sum", "max_hours=2"], "max_hours=2: write --max-hours 2"),
        (
            ["weighting=constant", "weighting.from_run=runs/a"],
            "weighting.from_run: a replay has the weights of its run",
        ),
        (["weighting=dwa", "weighting.method.temperature=-1"], "temperature=-1"),
        (["weighting=sum", "data=utkface"], "data=utkface needs data.root=PATH"),
        (["runs/tune", "--confirm", "1,2"], "runs/tune: there is no search here"),
        (["weighting=sum", "--confirm", "1"], "--confirm: expected one folder"),
        (["runs/tune", "--confirm", "one"], "--confirm one: expected seeds, as in 1,2,3"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(arguments, sentence, tmp_path, monkeypatch, capsys, cache):
    monkeypatch.chdir(tmp_path)
    own = [] if "--confirm" in arguments else [f"data.cache={cache}", "backbone=mobilenet"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *own])
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_confirming_needs_a_finished_trial_and_fresh_seeds(journal, capsys):
    search = journal.open()
    trial = search.ask(2)
    write(journal.folder, search.storage)
    for told, sentence in ((False, "no trial is done yet"), (True, "seed 0 has chosen what dwa has")):
        if told:
            search.tell(trial, 0.5, "")
            write(journal.folder, search.storage)
        with pytest.raises(SystemExit) as ended:
            main([str(journal.folder), "--confirm", "1,0"])
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err
    assert not journal.folder.with_name("tuned-confirmed").exists()
