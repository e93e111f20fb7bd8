"""Figures draw the numbers of the study: read from the artists, and from the files where these matter."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
import numpy as np
import pytest

from mtl.report.arrange import arrange
from mtl.report.collect import collect
from mtl.report.compare import Choices, Comparisons
from mtl.report.figures import conflict, curves, draw, errors, front, relations, replays, scores
from mtl.report.figures.style import STYLE, Skip
from mtl.report.rows import SCORE
from mtl.report.stats import interval
from mtl.rundir import RunDir

TASKS = ["age", "sick", "species"]
SPECIAL = r"a_b$x$&<b>\%"


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context():
        matplotlib.rcParams.update(STYLE)
        yield


def compared(study: Path, **choices: Any) -> Comparisons:
    return Comparisons(arrange(collect(study)), Choices(**choices))


def change(run: Path, **numbers: float) -> None:
    """Change metrics.json: `test__sick__accuracy=0.9`, `val__score=0.5`."""
    metrics = json.loads((run / "metrics.json").read_text())
    for key, value in numbers.items():
        *parents, last = key.split("__")
        node = metrics
        for parent in parents:
            node = node[parent]
        node[last] = value
    (run / "metrics.json").write_text(json.dumps(metrics))


def epochs(seed: int, *, tasks: Sequence[str] = TASKS, move: float = 1.0) -> list[dict[str, Any]]:
    """Three rows of a history whose every number differs."""
    rows = []
    for epoch in range(3):
        row: dict[str, Any] = {"epoch": epoch, "val/score": 0.1 * epoch + 0.01 * seed}
        for k, task in enumerate(tasks):
            metric = "mae_years" if task == "age" else "accuracy"
            row |= {f"val/{task}/{metric}": k + epoch + 0.1 * seed, f"train/{task}/{metric}": k + epoch / 2}
            row |= {f"weight/{task}": 10.0 ** (k * move) + epoch * move, f"share/{task}": (k + 1) / 6}
        for a, b in itertools.combinations(tasks, 2):
            row |= {f"conflict/cos/{a}/{b}": -0.3 + 0.1 * epoch + 0.02 * seed, f"conflict/share/{a}/{b}": 0.25 * epoch}
        rows.append(row)
    return rows


def said(ages: Sequence[float], shift: float = 0.0, wrong: Sequence[int] = ()) -> str:
    """predictions.csv of pictures with these true ages; `wrong` of them have the class after the true one."""
    lines = ["id,cluster,age/true,age/pred,sick/true,sick/pred,species/true,species/pred"]
    for n, age in enumerate(ages):
        guess = (n + (n in wrong)) % 2, (n + (n in wrong)) % 5
        lines.append(f"{n:03}.png,{n},{age},{age + shift * (-1) ** n},{n % 2},{guess[0]},{n % 5},{guess[1]}")
    return "\n".join(lines)


def artists(figure: Any) -> dict[str, Any]:
    """gid -> the line or text of that name."""
    return {a.get_gid(): a for axes in figure.axes for a in [*axes.lines, *axes.texts] if a.get_gid()}


def xs(line: Any) -> list[float]:
    return [float(x) for x in line.get_xdata()]


def ys(line: Any) -> list[float]:
    return [float(y) for y in line.get_ydata()]


def test_scores(write_run, study):
    rng = np.random.default_rng(0)
    for name, seed in itertools.product(["sum", "dwa", SPECIAL], range(3)):
        maes = 10 + (name == "dwa") + rng.normal(0, 0.1)
        write_run(name, seed=seed, mae=maes, predictions=said(range(20, 60), shift=maes))
    comparisons = compared(study)
    figure = scores.scores(comparisons)
    found = artists(figure)
    for row in comparisons.rows.rows:
        values = list(comparisons.values(row, SCORE).values())
        assert len(set(values)) == 3
        assert xs(found[f"seeds/{row.label}"]) == values
        assert xs(found[f"mean/{row.label}"]) == [pytest.approx(fmean(values))]
    for label, one in comparisons.of(SCORE).items():
        assert xs(found[f"difference/{label}"]) == [one.difference]
        assert xs(found[f"interval/{label}"]) == list(one.interval)
        assert xs(found[f"pictures/{label}"]) == list(one.pictures)
        assert ys(found[f"mean/{label}"]) == ys(found[f"difference/{label}"])
    assert not any(gid == "difference/sum" for gid in found)
    labels = [(text.get_text(), text.get_parse_math()) for text in figure.axes[0].get_yticklabels()]
    means = {row.label: -fmean(comparisons.values(row, SCORE).values()) for row in comparisons.rows.rows}
    assert labels == [(label, False) for label in sorted(means, key=means.__getitem__)]
    assert figure.get_suptitle() == "synthetic data"


def test_one_seed_has_no_interval_and_one_row_no_second_panel(write_run, study):
    write_run(data__synthetic=False)
    figure = scores.scores(compared(study))
    assert len(figure.axes) == 1
    assert not figure.get_suptitle()
    write_run("dwa", mae=9.0, data__synthetic=False)
    found = artists(scores.scores(compared(study)))
    assert not [gid for gid in found if gid.startswith(("interval/", "pictures/"))]
    assert found["difference/dwa"].get_fillstyle() == "none"


def test_a_row_far_from_all_others_is_named_at_the_edge(write_run, study):
    for n, name in enumerate(["sum", "dwa", "gls", "log", "rlw", "famo", "cov", "uw_o", "slaw", "dtp"]):
        for seed in (0, 1):
            write_run(name, seed=seed, mae=9 + 0.1 * n + 0.01 * seed)
    comparisons = compared(study)
    assert "far" not in artists(scores.scores(comparisons))
    for seed in (0, 1):
        write_run("mgda", seed=seed, mae=60.0)
    comparisons = compared(study)
    figure = scores.scores(comparisons)
    mean = fmean(comparisons.values(comparisons.rows.find("mgda"), SCORE).values())
    left = figure.axes[0]
    assert left.get_xlim()[0] > mean
    assert [text.get_text() for text in left.texts] == [f"◂ {mean:.3g}".replace("-", "−")]
    near = [x for line in left.lines if line.get_gid() and "mgda" not in line.get_gid() for x in xs(line)]
    assert left.get_xlim()[0] < min(near) < max(near) < left.get_xlim()[1]


def test_tasks_set_the_interval_off_from_the_baseline(write_run, study):
    for seed, mae in enumerate([10.0, 10.2, 10.1]):
        write_run(seed=seed, mae=mae)
        write_run("dwa", seed=seed, mae=mae - 2 + 0.1 * seed)
    comparisons = compared(study)
    figure = scores.tasks(comparisons)
    found = artists(figure)
    one = comparisons.of("test/age/mae_years", higher=False)["dwa"]
    assert xs(found["baseline/age/dwa"]) == [pytest.approx(10.1)] * 2
    assert xs(found["interval/age/dwa"]) == [pytest.approx(10.1 + end) for end in one.interval]
    assert max(xs(found["interval/age/dwa"])) < 10.1  # two years better: the bar does not touch the line
    assert xs(found["mean/age/dwa"]) == [pytest.approx(8.2)]
    assert [axes.get_title()[-1] for axes in figure.axes] == ["↓", "↑", "↑"]


def test_curves_are_means_over_seeds(write_run, study):
    for seed in (0, 1):
        write_run(seed=seed, history=epochs(seed))
        for task in TASKS:
            write_run(seed=seed, tasks=[task], history=epochs(seed, tasks=[task]))
    found = artists(curves.curves(compared(study)))
    assert xs(found["val/score/sum"]) == [1, 2, 3]
    assert ys(found["val/score/sum"]) == pytest.approx([0.5, 10.5, 20.5])  # points
    assert ys(found["val/score/single-task"]) == pytest.approx([0.5, 10.5, 20.5])
    assert ys(found["val/species/sum"]) == pytest.approx([2.05, 3.05, 4.05])
    assert ys(found["train/species/sum"]) == pytest.approx([2, 2.5, 3])
    assert ys(found["val/species/single-task"]) == pytest.approx([0.05, 1.05, 2.05])


def test_weights_of_the_rows_whose_weights_move(write_run, study):
    write_run(history=epochs(0, move=0))
    with pytest.raises(Skip, match="move"):
        curves.weights(compared(study))
    write_run("dwa", history=epochs(0, move=1))
    write_run("gls", history=epochs(0, move=0.5))
    figure = curves.weights(compared(study))
    found = artists(figure)
    assert {gid.rpartition("/")[2] for gid in found} == {"dwa", "gls"}
    assert ys(found["weight/species/dwa"]) == [100, 101, 102]
    assert ys(found["share/species/dwa"]) == [0.5] * 3
    scales = {axes.get_title(): axes.get_yscale() for axes in figure.axes if axes.get_title()}
    assert scales == {"dwa": "log", "gls": "linear"}


def test_conflict_cells_are_the_means(write_run, study):
    for seed in (0, 1):
        write_run(seed=seed, history=epochs(seed))
        write_run("dwa", seed=seed, history=[row | {"conflict/cos/age/sick": None} for row in epochs(seed)])
        write_run("gls", seed=seed, history=[{"epoch": 0, "val/score": 0.1}])
    figure = conflict.conflict(compared(study))
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["sum", "dwa"]  # gls recorded none
    cosines = np.ma.filled(left.images[0].get_array(), np.nan)
    np.testing.assert_allclose(cosines, [[-0.19] * 3, [np.nan, -0.19, -0.19]])
    np.testing.assert_allclose(right.images[0].get_array(), np.full((2, 3), 0.25))
    texts = {text.get_position(): text.get_text() for text in left.texts}
    assert texts == {(x, y): "−0.19" for x, y in itertools.product(range(3), range(2)) if (x, y) != (0, 1)}
    low, high = left.images[0].get_clim()
    assert low == -high


def test_no_conflicts_recorded(write_run, study):
    write_run("gls", history=[{"epoch": 0, "val/score": 0.1}])
    comparisons = compared(study)
    with pytest.raises(Skip, match=r"train\.probe"):
        conflict.conflict(comparisons)


def test_front_holds_the_undominated_fixed_weightings(write_run, study):
    rng = np.random.default_rng(1)
    points = []
    for n, (age, sick) in enumerate(rng.uniform([8, 0.7], [12, 0.9], (12, 2))):
        run = write_run("constant", mae=age, weighting__method={"_target_": "constant", "weights": {"age": n + 2}})
        change(run, test__sick__accuracy=sick)
        points.append((age, sick))
    maes = [7.0, 7.2, 7.4]
    for seed, mae in enumerate(maes):
        write_run("dwa", seed=seed, mae=mae)  # ahead of all, and no part of the front
    comparisons = compared(study)
    figure = front.front(comparisons)
    assert len(figure.axes) == 3
    axes = figure.axes[0]
    assert axes.get_xlim()[0] > axes.get_xlim()[1]  # MAE: better is to the right
    assert axes.get_ylim()[0] < axes.get_ylim()[1]
    best = {(x, y) for x, y in points if all(a > x or b < y or (a, b) == (x, y) for a, b in points)}
    lines = {line.get_gid(): line for line in axes.lines}
    ahead = list(zip(xs(lines["front"]), ys(lines["front"]), strict=True))
    assert 1 < len(best) < len(points)
    assert ahead == sorted(best)
    assert set(zip(xs(lines["behind"]), ys(lines["behind"]), strict=True)) == set(points) - best
    assert xs(lines["point/dwa"]) == [pytest.approx(7.2)]
    assert xs(lines["across/dwa"]) == pytest.approx(interval(np.array(maes), 0.95))


def test_learning_rate_joins_what_differs_in_nothing_else(write_run, study):
    for lr, mae in ((0.01, 9.0), (0.001, 10.0), (0.1, 12.0)):
        for seed in (0, 1):
            write_run(seed=seed, mae=mae + seed, optimizer__lr=lr)
    write_run("dwa", mae=8.0, optimizer__lr=0.01)
    write_run("dwa", seed=1, mae=8.0, optimizer__lr=0.01)
    comparisons = compared(study)
    found = artists(relations.learning_rate(comparisons))
    assert xs(found["line/sum"]) == pytest.approx([0.001, 0.01, 0.1], rel=0.05)
    means = [
        fmean(comparisons.values(comparisons.rows.find(f"sum lr={lr}"), SCORE).values()) for lr in (0.001, 0.01, 0.1)
    ]
    assert ys(found["line/sum"]) == pytest.approx(means)
    assert ys(found["point/dwa/0.01"]) == ys(found["line/dwa"])


def test_replay_beside_the_run_that_it_is_of(write_run, study):
    for seed, mae in enumerate([10.0, 10.5, 10.2]):
        own = write_run("dwa", seed=seed, mae=mae)
        source = own.name.split("-")[2]
        write_run("replay_dwa", seed=seed, mae=11.0, weighting__replay_of=source)
        write_run("replay_dwa", seed=seed, mae=12.0, weighting__replay_of="0" * 8)  # of a run of another study
    comparisons = compared(study)
    found = artists(replays.replay(comparisons))
    own, copied = (
        comparisons.values(comparisons.rows.find(name), SCORE) for name in ("dwa", f"replay_dwa replay_of={source}")
    )
    differences = np.array([own[block] - copied[block] for block in own])
    assert [gid for gid in found if gid.startswith("difference/")] == ["difference/dwa"]
    assert xs(found["difference/dwa"]) == pytest.approx([differences.mean()])
    assert xs(found["interval/dwa"]) == pytest.approx(interval(differences, 0.95))
    assert xs(found["dynamic/dwa"])[0] > xs(found["replay/dwa"])[0]


def test_a_replay_whose_weighting_is_not_there(write_run, study):
    write_run()
    write_run("replay_dwa", weighting__replay_of="0" * 8)
    comparisons = compared(study)
    with pytest.raises(Skip, match="from_run"):
        replays.replay(comparisons)


def test_error_over_the_true_value(write_run, study):
    ages = [11, 12, 13, 14, 95, 96]
    for seed in (0, 1):
        write_run(seed=seed, predictions=said(ages, shift=4.0 + seed))
    figure = errors.error(compared(study), "age")
    found = artists(figure)
    bars = figure.axes[2].patches
    assert [bar.get_height() for bar in bars] == [4, 2]
    assert [bar.get_x() <= age <= bar.get_x() + bar.get_width() * 1.1 for bar, age in zip(bars, (12, 95), strict=True)]
    assert ys(found["size/sum"]) == [4.5, 4.5]
    assert ys(found["signed/sum"]) == [0, 0]  # one too high, the next too low
    write_run("dwa")
    comparisons = compared(study)
    with pytest.raises(Skip, match=r"no predictions\.csv"):
        errors.error(comparisons, "age")


def test_confusion_of_the_baseline_and_the_best_by_validation(write_run, study):
    for seed in (0, 1):
        write_run(seed=seed, predictions=said(range(20), wrong=[0, 5] if seed else []))
        change(write_run("dwa", seed=seed, predictions=said(range(20))), val__score=0.6)
        change(write_run("gls", seed=seed, predictions=said(range(20))), val__score=0.5)
    figure = errors.confusion(compared(study))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["sum (baseline)", "dwa (best by validation)"]
    species = figure.axes[2].images[0].get_array()
    np.testing.assert_allclose(species[0], [0.75, 0.25, 0, 0, 0])  # 2 of 4 in one run of two
    np.testing.assert_allclose(species.sum(1), 1)
    assert figure.axes[2].texts[1].get_text() == "0.25\n1"
    np.testing.assert_allclose(figure.axes[3].images[0].get_array(), np.eye(5))
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["oak", "pine", "ash", "elm", "fir"]


def test_cost(write_run, study):
    write_run(step_ms=100.0)
    write_run("dwa", mae=9.0, step_ms=150.0)
    comparisons = compared(study)
    found = artists(relations.cost(comparisons))
    assert xs(found["point/dwa"]) == [150.0]
    assert ys(found["point/dwa"]) == list(comparisons.values(comparisons.rows.find("dwa"), SCORE).values())


ALL = {
    "scores",
    "tasks",
    "curves",
    "weights",
    "conflict",
    "front",
    "learning_rate",
    "replay",
    "age_error",
    "confusion",
    "cost",
}


def test_every_figure_is_drawn_where_it_has_data(write_run, study, tmp_path):
    """Rows for each figure, names that mean something to LaTeX, HTML, mathtext and legends."""
    guesses = said(range(10, 90))
    for seed in (0, 1):
        write_run(seed=seed, history=epochs(seed), predictions=guesses)
        write_run(SPECIAL, seed=seed, mae=9 + 0.3 * seed, history=epochs(seed), predictions=guesses)
    source = write_run("_hidden", mae=9.0, predictions=guesses).name.split("-")[2]
    write_run("replay__hidden", weighting__replay_of=source, predictions=guesses)
    write_run(optimizer__lr=0.1, mae=11.0, predictions=guesses)
    for weight in (2, 3, 4):
        fixed = {"_target_": "constant", "weights": {"age": weight}}
        write_run("constant", weighting__method=fixed, predictions=guesses)
    found = draw(compared(study), tmp_path)
    assert found.skipped == {}
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"{name}.{kind}" for name in ALL for kind in ("pdf", "png")} == {p.name for p in found.paths}
    for path in found.paths:
        content = path.read_bytes()
        if path.suffix == ".pdf":
            assert content.startswith(b"%PDF")
            assert b"FontFile2" in content  # TrueType, embedded
            assert b"/Type3" not in content
            assert b"CreationDate" not in content
        else:
            assert content.startswith(b"\x89PNG")


def test_what_has_no_data_is_named_with_the_reason(write_run, study, tmp_path):
    write_run()
    stale = tmp_path / "figures" / "front.pdf"
    stale.parent.mkdir()
    stale.write_text("of an earlier study")
    before = matplotlib.rcParams["font.size"] = 30.0  # a reader's style
    found = draw(compared(study), tmp_path)
    assert matplotlib.rcParams["font.size"] == before
    assert {path.name for path in found.paths} == {
        f"{name}.{kind}" for name in ("scores", "tasks") for kind in ("pdf", "png")
    }
    assert set(found.skipped) == ALL - {"scores", "tasks"}
    assert found.skipped["curves"] == "no finished run has a history.jsonl"
    assert found.skipped["confusion"].endswith("has no predictions.csv")
    assert all(found.skipped.values())
    assert not stale.exists()
    contents = {path: path.read_bytes() for path in found.paths}
    matplotlib.rcParams["font.size"] = 5.0
    draw(compared(study), tmp_path)
    assert {path: path.read_bytes() for path in found.paths} == contents  # nothing of the day, nothing of the reader
    assert sorted(path.name for path in stale.parent.iterdir()) == sorted(path.name for path in found.paths)
    assert RunDir(tmp_path / "figures").read("scores.json") is None
