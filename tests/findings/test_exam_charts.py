"""What pictures of an exam show is what plain counting over its replies finds."""

from itertools import combinations

import numpy as np
import pytest

from reasoning.core.statistics import mean_over_problems
from reasoning.evaluation.results import Replies, Results, Score
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.exam_charts import MOST_LINES, exam_charts


def row(problem, values, answers=None, lengths=None, **more):
    count = len(values)
    return Replies(
        checkpoint="r1", problem=problem, question=f"q{problem}", answer="1", kind="sums", method="samples",
        texts=("t",) * count, lengths=tuple(lengths or [1] * count), log_probs=(-1.0,) * count,
        answers=tuple(answers or ["1"] * count), scores={"strict": tuple(values)}, **more,
    )  # fmt: skip


def charts_of(*rows, checkpoints=("r1",)):
    scores = {"strict/pass@1": Score(0.5, 0.4, 0.6, len(rows)), "length": Score(12.5, 12.0, 13.0, len(rows))}
    samples = {name: {number: [each] for number, each in enumerate(rows)} for name in checkpoints}
    found = exam_charts(Evaluation("exam", Results({name: scores for name in checkpoints}), samples))
    return {chart.title: chart for chart in found}


@pytest.mark.parametrize("seed", range(3))
def test_pass_at_k_is_the_share_of_all_choices_of_k_replies_that_hold_a_right_one(seed):
    random = np.random.default_rng(seed)
    values = [random.integers(0, 2, random.choice([6, 8])).astype(float).tolist() for _ in range(9)]
    most = min(map(len, values))
    chart = charts_of(*(row(number, each) for number, each in enumerate(values)))["strict pass@k"]
    assert chart.doubling and chart.across == "k"
    [series] = chart.series
    assert [k for k, _ in series.raw] == sorted({1, 2, 4, most})
    for (k, shown), (_, low, high) in zip(series.raw, series.spans, strict=True):
        each = [np.mean([any(choice) for choice in combinations(one, int(k))]) for one in values]
        assert shown == pytest.approx(np.mean(each), abs=1e-12) and low <= shown <= high


def test_replies_that_were_not_graded_are_left_out_and_marks_between_right_and_wrong_have_no_pass_at_k():
    [series] = charts_of(row(0, (1.0, None, 0.0)), row(1, (None, 0.0, 0.0)))["strict pass@k"].series
    assert series.raw == ((1.0, 0.25), (2.0, 0.5))
    assert "strict pass@k" not in charts_of(row(0, (0.5, 1.0)))
    assert "strict pass@k" not in charts_of(row(0, (1.0,)))


def test_accuracy_stands_at_the_mean_length_with_the_interval_of_the_table():
    [series] = charts_of(row(0, (1.0, 0.0)))["strict pass@1 against tokens"].series
    assert series.raw == ((12.5, 0.5),) and series.spans == ((12.5, 0.4, 0.6),) and "0.50 at 12.5 tokens" in series.told


@pytest.mark.parametrize("longest", [1, 5, 23, 24, 25, 400])
def test_shares_of_lengths_add_up_and_stand_where_the_replies_are(longest):
    lengths = np.random.default_rng(longest).integers(0, longest + 1, 200).tolist() + [longest]
    [series] = charts_of(row(0, [1.0] * 201, lengths=lengths))["Lengths of replies"].series
    places, shares = np.array(series.raw).T
    width = places[0] * 2
    assert sum(shares) == pytest.approx(1) and len(places) <= 25
    for place, share in zip(places, shares, strict=True):
        assert share * 201 == pytest.approx(sum(place - width / 2 <= each < place + width / 2 for each in lengths))
    assert f"longest {longest}" in series.told
    assert "Lengths of replies" not in charts_of(row(0, [1.0] * 3, lengths=[longest] * 3))


def test_calibration_compares_the_share_of_votes_with_how_often_the_winner_is_right():
    random = np.random.default_rng(3)
    rows, votes, right = [], [], []
    for number in range(60):
        count, good = int(random.integers(3, 9)), float(random.integers(0, 2))
        others = [str(10 + place) for place in range(8 - count)]
        rows.append(row(number, [good] * count + [1 - good] * len(others), ["1"] * count + others))
        votes.append(count / 8)
        right.append(good)
    chart = charts_of(*rows)["Calibration"]
    assert chart.across == "share of votes" and chart.guide == ((0, 0), (1, 1))
    [series] = chart.series
    error, expected = 0.0, []
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = [place for place, vote in enumerate(votes) if low < vote <= low + 0.2 + 1e-12]
        if inside:
            sure, good = np.mean([votes[place] for place in inside]), np.array([right[place] for place in inside])
            error += len(inside) / 60 * abs(sure - good.mean())
            mean = mean_over_problems(good)
            expected += [(sure, mean.mean, mean.low, mean.high)] if len(inside) >= 8 else []
    np.testing.assert_allclose(
        [(*point, *span[1:]) for point, span in zip(series.raw, series.spans, strict=True)], expected
    )
    assert series.told == f"expected error {error:.2f}"


def test_where_answers_were_weighed_their_probability_is_the_confidence():
    rows = [row(number, (float(number < 6),), probabilities={"1": 0.9, "2": 0.1}) for number in range(10)]
    chart = charts_of(*rows)["Calibration"]
    assert chart.across == "probability" and chart.series[0].raw == ((pytest.approx(0.9), 0.6),)
    assert "Calibration" not in charts_of(*rows[:7])  # Too few to tell anything.


def test_of_many_checkpoints_as_many_are_drawn_as_there_are_colours_first_and_last_among_them():
    names = [f"c{place}" for place in range(15)]
    shown = [series.name for series in charts_of(row(0, (1.0, 0.0)), checkpoints=names)["strict pass@k"].series]
    assert len(shown) == MOST_LINES and shown[0] == "c0" and shown[-1] == "c14"


def test_an_exam_without_replies_shows_only_what_its_table_tells(facts):
    assert [chart.title for chart in exam_charts(Evaluation("exam", Results({"base": {}})))] == []
    titles = {chart.title for chart in exam_charts(facts.evaluations[0])}
    assert {"lenient pass@k", "lenient pass@1 against tokens"} <= titles
