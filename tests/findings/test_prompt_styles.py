from dataclasses import replace

import numpy as np
import pytest

from reasoning.core.artifact import Artifact
from reasoning.core.statistics import difference_over_problems, together
from reasoning.evaluation.results import SAMPLES, Replies, Results, Score, write_results, write_samples
from reasoning.findings.evaluations import Evaluation, evaluation_of
from reasoning.findings.prompt_styles import StylePair, style_differences

KINDS = ("facts", "sums")
RNG = np.random.default_rng(0)
RIGHT = {  # [problems, samples] of each style: thinking helps with sums, and with facts it changes next to nothing
    "think": np.concatenate([RNG.random((40, 4)) < 0.8, RNG.random((40, 4)) < 0.9]),
    "direct": np.concatenate([RNG.random((40, 4)) < 0.8, RNG.random((40, 4)) < 0.2]),
    "": np.concatenate([RNG.random((40, 2)) < 0.8, RNG.random((40, 2)) < 0.5]),
}


def row(style: str, number: int, right: np.ndarray, method: str = "samples") -> Replies:
    many = len(right)
    return Replies(
        checkpoint="r1", problem=number, question=f"{number}?", answer="1", kind=KINDS[number // 40], method=method,
        style=style, texts=("=",) * many, lengths=(1,) * many, log_probs=(-1.0,) * many, answers=(None,) * many,
        scores={"lenient": tuple(map(float, right))},
    )  # fmt: skip


def evaluation(tmp_path, rows: list[Replies]) -> Evaluation:
    write_results(tmp_path, Results({"r1": {"lenient/pass@1": Score(0.5, 0.4, 0.6, 80)}}))
    write_samples(tmp_path / SAMPLES, rows)
    found = evaluation_of(Artifact(tmp_path, "results", "exam", "0" * 64, {}), [].append)
    assert found is not None
    return found


def all_rows(styles=("", "think", "direct")) -> list[Replies]:
    return [row(style, number, right) for style in styles for number, right in enumerate(RIGHT[style])]


def test_differences_are_paired_over_the_problems_and_corrected_together(tmp_path):
    found = style_differences(evaluation(tmp_path, all_rows()))
    assert found is not None and found.score == "lenient" and found.kinds == KINDS
    pairs = [("think", "direct"), ("think", ""), ("direct", "")]
    assert list(found.rows) == [StylePair("r1", *pair) for pair in pairs]
    parts = [slice(0, 80), slice(0, 40), slice(40, 80)]
    alone = [
        difference_over_problems(RIGHT[one][part].mean(1), RIGHT[other][part].mean(1))
        for one, other in pairs
        for part in parts
    ]
    assert [each for line in found.rows.values() for each in line] == list(together(alone))
    everywhere, facts, sums = found.rows[StylePair("r1", "think", "direct")]
    assert sums.clear and everywhere.clear and not facts.clear


def test_one_further_style_is_compared_with_the_exam_s_own(tmp_path):
    found = style_differences(evaluation(tmp_path, all_rows(("", "think"))))
    assert found is not None and list(found.rows) == [StylePair("r1", "think", "")]


def test_replies_of_another_method_are_not_compared(tmp_path):
    rows = [replace(each, method="greedy") if not each.style else each for each in all_rows()]
    found = style_differences(evaluation(tmp_path, rows))
    assert found is not None and list(found.rows) == [StylePair("r1", "think", "direct")]


@pytest.mark.parametrize("styles", [("",), ("think",)])
def test_one_style_alone_is_compared_with_nothing(tmp_path, styles):
    assert style_differences(evaluation(tmp_path, all_rows(styles))) is None


def test_of_one_kind_there_is_one_column(tmp_path):
    rows = [replace(each, kind="sums") for each in all_rows(("", "think"))]
    found = style_differences(evaluation(tmp_path, rows))
    assert found is not None and found.kinds == () and [len(line) for line in found.rows.values()] == [1]
