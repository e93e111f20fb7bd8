from __future__ import annotations

import re

import numpy as np
import pytest
from helpers_report import tabled
from scipy import stats

from mtl.report.compare import DELTA_M
from mtl.report.predictions import losses, predictions
from mtl.report.rows import SCORE, SINGLE

#: good and bad seeds, which all methods share, and residuals of about one size
SEEDS = np.array([0.0, 0.4, -0.1, 0.3, 0.1])
MAE = {
    "sum": (10.0 + SEEDS + [0.2, -0.2, 0.1, -0.1, 0.0]).tolist(),
    "dwa": (9.0 + SEEDS + [-0.1, 0.2, 0.1, -0.2, 0.0]).tolist(),
    "rlw": (10.2 + SEEDS + [-0.1, 0.1, -0.2, 0.2, 0.0]).tolist(),
}


@pytest.fixture
def three(study, write_run):
    for name, values in MAE.items():
        for seed, mae in enumerate(values):
            write_run(name, seed=seed, mae=mae)
    return study


def test_a_difference_and_its_interval_are_those_of_the_blocked_model(three):
    one = tabled(three).comparisons.of(SCORE)["dwa"]
    # a year of MAE is 100 / 3 / 14.97 points of the mean over three tasks
    values = -np.array(list(MAE.values())) * 100 / 3 / 14.97
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    error = np.sqrt(2 * (residual**2).sum() / (2 * 4) / 5)
    assert one.difference == pytest.approx(values[1].mean() - values[0].mean())
    # two comparisons, 8 degrees of freedom, two-sided 5 %: Dunnett's 2.67 (Biometrics 1964, table II)
    assert one.interval == pytest.approx(
        (one.difference - 2.67 * error, one.difference + 2.67 * error), abs=0.01 * error
    )
    assert (one.verdict, one.statistics.method) == ("better", "pooled")
    low, high = one.interval
    assert (
        one.sentence("skill points")
        == f"dwa - sum = {one.difference:+.1f} [{low:.1f}, {high:.1f}] skill points: better"
    )


def test_two_rows_are_compared_by_the_paired_t_test(study, write_run):
    for name in ("sum", "dwa"):
        for seed, mae in enumerate(MAE[name]):
            write_run(name, seed=seed, mae=mae)
    one = tabled(study).comparisons.of("test/age/mae_years", higher=False)["dwa"]
    reference = stats.ttest_rel(MAE["dwa"], MAE["sum"])
    low, high = reference.confidence_interval(0.95)
    assert one.difference == pytest.approx(np.mean(MAE["dwa"]) - np.mean(MAE["sum"]))
    assert one.interval == pytest.approx((low, high))
    assert one.statistics.p == pytest.approx(reference.pvalue)
    assert one.verdict == "better"  # lower is


def test_undecided_says_how_many_seeds_would_decide(three):
    sentence = tabled(three).comparisons.of(SCORE)["rlw"].sentence("skill points")
    assert re.fullmatch(
        r"rlw - sum = -0.4 \[-1.\d, 0.\d\] skill points: undecided; about \d+ seeds would decide", sentence
    )


def test_an_interval_within_the_margin_is_no_difference_that_matters(three):
    made = tabled(three, margin=5)
    assert made.comparisons.of(SCORE)["rlw"].verdict == "no difference above 5"
    rest = "The rest is undecided, not equal"
    assert made.caption.lines[-1].endswith(f"{rest}, or no difference above 5, as its verdict says.")
    assert tabled(three).caption.lines[-1].endswith(f"{rest}.")


def test_the_baseline_is_chosen_by_name(three):
    compared = tabled(three, baseline="rlw").comparisons.of(SCORE)
    assert {one.baseline.label for one in compared.values()} == {"rlw"}
    with pytest.raises(ValueError, match=r"^no row is called 'dws'; expected one of sum, dwa, rlw$"):
        tabled(three, baseline="dws")


def test_a_row_that_lacks_a_seed_is_refused_with_the_reason_and_the_others_stay(three, write_run):
    whole = tabled(three).comparisons.of(SCORE)["dwa"]
    for seed in (0, 1, 3):
        write_run("gls", seed=seed, mae=9.0)
    made = tabled(three)
    refused = made.comparisons.of(SCORE)["gls"]
    assert (refused.interval, refused.verdict) == (None, "")
    assert "not compared, because gls lacks seed 2, 4; train it, too" in refused.sentence("skill points")
    assert made.comparisons.of(SCORE)["dwa"].interval == whole.interval


def test_one_seed_has_a_difference_and_no_interval(study, write_run):
    write_run("sum", mae=10.0)
    write_run("dwa", mae=9.0)
    one = tabled(study).comparisons.of(SCORE)["dwa"]
    assert one.interval is None
    assert one.sentence("skill points") == "dwa - sum = +2.2 skill points: one seed, no interval"


def test_delta_m_is_the_mean_relative_change_with_the_spread_of_the_single_tasks(study, write_run):
    single = [9.0, 9.5, 8.8]
    for seed in range(3):
        write_run("sum", seed=seed, mae=MAE["sum"][seed])
        for task in ("age", "sick", "species"):
            write_run("sum", seed=seed, tasks=[task], mae=single[seed])
    made = tabled(study)
    cell = made.table.rows[0].cells[DELTA_M]
    # only the age differs: minus its relative change, over three tasks
    changes = -100 * (np.array(MAE["sum"][:3]) - single) / np.mean(single) / 3
    assert (cell.mean, cell.std) == pytest.approx((changes.mean(), changes.std(ddof=1)))
    assert cell.mean < 0
    one = made.comparisons.of(DELTA_M)["sum"]
    assert one.baseline.label == SINGLE
    reference = stats.ttest_1samp(changes, 0)
    assert one.interval == pytest.approx(tuple(reference.confidence_interval(0.95)))


def _predictions(draw, ages, wrong):
    """100 test pictures, every second one a near-duplicate of the one before."""
    lines = ["id,age/true,age/pred,sick/true,sick/pred,species/true,species/pred,cluster"]
    for i in range(100):
        off = ages * (1 + 0.5 * draw[i // 2])
        sick, species = i % 2, i % 5
        lines.append(
            f"{i:03}.png,50,{50 + off},{sick},{1 - sick if i < wrong else sick},{species},{species},{i // 2:03}"
        )
    return "\n".join(lines) + "\n"


def test_the_interval_over_test_pictures_resamples_clusters_of_duplicates(study, write_run):
    draw = np.random.default_rng(0).normal(size=50)
    for seed in range(3):
        write_run("sum", seed=seed, predictions=_predictions(draw, 10.0, 20))
        write_run("dwa", seed=seed, predictions=_predictions(draw, 8.0, 20))
    made = tabled(study)
    one = made.comparisons.of(SCORE)["dwa"]
    found = predictions(made.rows, made.rows.rows)
    contributions = losses(made.rows, made.rows.rows, found)
    difference = (contributions[1] - contributions[0]).mean(1)
    # a cluster's two pictures are equal: the standard error is that of 50 clusters, not of 100 pictures
    error = difference.reshape(50, 2).mean(1).std() / np.sqrt(50)
    low, high = one.pictures
    assert (low + high) / 2 == pytest.approx(difference.mean(), abs=0.2 * error)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_contributions_of_pictures_add_up_to_the_score(study, write_run):
    run = write_run("sum", predictions=_predictions(np.zeros(50), 10.0, 20))
    made = tabled(study)
    contributions = losses(made.rows, made.rows.rows, predictions(made.rows, made.rows.rows))
    # MAE 10 of 14.97; 80 of 100 with 0.523 by guessing; all right
    assert contributions[0].mean(0) == pytest.approx([100 * (1 - 10 / 14.97), 100 * (0.8 - 0.523) / 0.477, 100])
    assert run.exists()


def test_different_test_pictures_are_not_put_together(study, write_run):
    draw = np.zeros(50)
    write_run("sum", predictions=_predictions(draw, 10.0, 20))
    write_run("dwa", predictions=_predictions(draw, 8.0, 20).replace("000.png", "else.png"))
    made = tabled(study)
    assert made.comparisons.of(SCORE)["dwa"].pictures is None
    assert "No intervals over test pictures: the runs were tested on different pictures." in made.caption.notes


@pytest.mark.parametrize(("text", "reason"), [(None, "has no predictions.csv"), ("x,y\n1,2\n", "is damaged")])
def test_missing_or_damaged_predictions_leave_the_rest(study, write_run, text, reason):
    write_run("sum", predictions=text)
    write_run("dwa", predictions=text)
    made = tabled(study)
    assert made.comparisons.of(SCORE)["dwa"].difference == 0
    assert any(reason in note for note in made.caption.notes)
