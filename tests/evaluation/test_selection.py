"""Ways of spending samples: what each equals in the limit, over random samples, and what it takes.

Shapes: P problems, S samples, V groups.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest
import tiny_stages
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stages import questions_for

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.evaluation.exam import Answers, ask, draw, graded
from reasoning.evaluation.methods import Samples, columns_of, tokens_of
from reasoning.evaluation.scorers import Cost, StepScores, last, mean, minimum, product, total
from reasoning.evaluation.selection import (
    NOBODY,
    Adaptive,
    BestOf,
    ByScorer,
    Group,
    Majority,
    Scored,
    Selections,
    Weighted,
    chosen,
    confidence,
    majority_stays,
    probability,
    scorer_flops,
)
from reasoning.evaluation.selection import tokens_of as tokens_used
from reasoning.evaluation.tables import answers_of, rows_of
from reasoning.rewards.reward import scorers_of

SAMPLES = 12


def equal(answers: Answers) -> np.ndarray:
    """Log-weights by which all count alike."""
    return np.full(answers.lengths.shape, -7.0)


@st.composite
def sampled(draw) -> Answers:
    """Three problems' samples; ``right`` is the score of those that answer 0."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (3, SAMPLES)
    given_PS = chance.integers(-1, draw(st.integers(1, 4)), shape)
    answers = [[None if answer < 0 else str(answer) for answer in group] for group in given_PS.tolist()]
    lengths = chance.integers(1, 30, shape)
    scores = {"right": (given_PS == 0).astype(float), "mostly": chance.random(shape)}
    return Answers([["="] * SAMPLES] * 3, lengths, scores, -lengths * chance.random(shape) * 3, answers)


def columns(answers: Answers, *ways, ks=()) -> dict[str, np.ndarray]:
    return columns_of(Selections(ways=ways, ks=ks), answers, "right")


@settings(max_examples=60)
@given(sampled(), st.sampled_from([1, 2, 3, 4, 5, 12]))
def test_what_ways_become_in_the_limit(answers: Answers, size: int):
    right_PS = answers.scores["right"]
    perfect = Scored("right")
    votes = columns_of(Samples(votes=(size,)), answers, "right")
    patient, alike = Adaptive(size=size, threshold=1.0), Weighted(size=size, by=equal)
    found = columns(answers, Majority(size=size), patient, alike, BestOf(size=size, by=perfect))
    for way in (Majority(size=size), patient, alike):
        np.testing.assert_array_equal(found[way.name], votes[f"majority@{size}"], err_msg=way.name)
        np.testing.assert_array_equal(chosen(way, answers)[1], size)
    weighted = columns(answers, Weighted(size=size, by=probability))[f"weighted_probability@{size}"]
    np.testing.assert_array_equal(weighted, votes[f"weighted@{size}"])
    # A perfect verifier finds a right reply wherever one of the group is right.
    groups = SAMPLES // size
    any_right_PV = right_PS[:, : groups * size].reshape(3, groups, size).max(axis=2)
    np.testing.assert_array_equal(found[f"best_right@{size}"], any_right_PV)


@settings(max_examples=30)
@given(sampled())
def test_the_best_of_one_is_pass_at_1_and_a_perfect_scorer_s_best_of_all_is_pass_at_all(answers: Answers):
    ways = (BestOf(size=1, by=confidence), BestOf(size=SAMPLES, by=Scored("right")))
    found = columns(answers, *ways, ks=(SAMPLES,))
    np.testing.assert_array_equal(found["best_confidence@1"], found["pass@1"])
    np.testing.assert_array_equal(found[f"best_right@{SAMPLES}"][:, 0], found[f"pass@{SAMPLES}"])
    tokens = tokens_of(Selections(ways=ways, ks=(SAMPLES,)), answers)
    np.testing.assert_allclose(tokens["best_confidence@1"], tokens["pass@1"])
    np.testing.assert_array_equal(tokens[f"best_right@{SAMPLES}"], answers.lengths.sum(axis=1))
    assert tokens.keys() == found.keys()


@settings(max_examples=60)
@given(sampled(), st.sampled_from([0.6, 0.8, 0.95]), st.sampled_from([1, 2, 5]))
def test_an_early_stop_is_the_majority_of_the_first_draws_and_takes_their_tokens(answers, threshold, step):
    way = Adaptive(size=SAMPLES, threshold=threshold, step=step)
    [picked_P], [used_P] = (each.T for each in chosen(way, answers))
    for problem, (picked, used) in enumerate(zip(picked_P, used_P, strict=True)):
        given_S = answers.answers[problem]
        first = replace(answers, answers=[each[:used] for each in answers.answers], lengths=answers.lengths[:, :used])
        assert Majority(size=used).choose(Group(given_S[:used], first, problem, 0))[0] == picked
        for drawn in range(step, used, step):
            counts = sorted((given_S[:drawn].count(each) for each in set(given_S[:drawn]) - {None}), reverse=True)
            assert majority_stays(*(*counts, 0, 0)[:2]) <= threshold + 1e-12
    tokens = tokens_used(answers, used_P[:, None], SAMPLES)
    np.testing.assert_array_equal(
        tokens, [lengths[:used].sum() for lengths, used in zip(answers.lengths, used_P, strict=True)]
    )


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (4, 0), (5, 2), (3, 3), (20, 11)])
def test_the_posterior_is_the_integral_of_its_density(first: int, second: int):
    share_N = (np.arange(400_000) + 0.5) / 400_000
    density_N = share_N**first * (1 - share_N) ** second
    assert majority_stays(first, second) == pytest.approx(density_N[share_N > 0.5].sum() / density_N.sum(), abs=1e-9)


def test_four_alike_are_enough_for_95_percent():
    answers = Answers([["="] * 8], np.arange(1, 9)[None], {"right": np.ones((1, 8))}, -np.ones((1, 8)), [["7"] * 8])
    assert chosen(Adaptive(size=8), answers)[1].tolist() == [[4]]  # 1 - 1/2⁵ = .969, after three 1 - 1/2⁴ = .938
    assert tokens_of(Selections(ways=(Adaptive(size=8),)), answers)["adaptive_0.95@8"].tolist() == [1 + 2 + 3 + 4]


def test_where_nobody_answers_nobody_is_chosen_and_all_draws_are_taken():
    answers = Answers([["="] * 3], np.ones((1, 3), int), {"right": np.zeros((1, 3))}, -np.ones((1, 3)), [[None] * 3])
    for way in (Majority(size=3), Weighted(size=3, by=probability), Adaptive(size=3)):
        assert [each.tolist() for each in chosen(way, answers)] == [[[NOBODY]], [[3]]]


def test_weights_are_ratios_however_small_probabilities_are():
    log_probs = np.array([[-2000.0, -2001.0, -2001.0]])
    answers = Answers([["="] * 3], np.array([[1, 1, 4]]), {"right": np.zeros((1, 3))}, log_probs, [["1", "2", "2"]])
    assert chosen(Weighted(size=3, by=probability), answers)[0].tolist() == [[0]]  # e⁰ against 2 e⁻¹
    assert chosen(Weighted(size=3, by=confidence), answers)[0].tolist() == [[1]]  # the last counts by its mean
    assert chosen(BestOf(size=3, by=confidence), answers)[0].tolist() == [[2]]


@dataclass(frozen=True)
class Beyond:
    """A way that names a sample which it didn't use."""

    size: int = 2
    name: str = "beyond"

    def choose(self, group: Group) -> tuple[int, int]:
        return 1, 1


def test_what_can_not_be_chosen_is_refused():
    answers = Answers([["="] * 2], np.ones((1, 2), int), {"s": np.array([[-1.0, 1.0]])}, -np.ones((1, 2)), [["1", "2"]])
    for way, message in (
        (Beyond(), "beyond chose sample 1 of 1 used, of 2"),
        (BestOf(size=2, by=Scored("other")), "there is no score other to choose by; there are s"),
        (BestOf(size=2, by=Scored("s")), "the score s is -1 somewhere; weights can't be below 0"),
        (Weighted(size=2, by=lambda answers: np.zeros(2)), r"gave weights of shape \(2,\) for samples of shape"),
    ):
        with pytest.raises(InputError, match=message):
            chosen(way, answers)


def test_ways_that_need_more_samples_than_there_are_and_two_of_one_name_are_refused():
    exam = tiny_stages.quiz(samples=4)
    Selections(ways=(Majority(size=4), BestOf(size=4, by=probability))).check(exam)
    for ways, message in (
        ((Majority(size=5),), "majority@5 can't be taken from 4 samples"),
        ((Majority(size=2), Majority(size=2)), "two ways are named majority@2; drop one"),
    ):
        with pytest.raises(InputError, match=message):
            Selections(ways=ways).check(exam)
    with pytest.raises(InputError, match="pass@5 can't be estimated from 4 samples"):
        Selections(ways=(), ks=(5,)).check(exam)


def test_selections_are_made_of_the_exam_s_own_samples(base: Artifact):
    candidate = tiny_stages.candidate(base)
    questions, key = questions_for(candidate), jax.random.key(3)
    method = Selections(ways=(Majority(size=3),))
    assert method.cost(candidate.exam) == 4
    assert method.replies(candidate, questions, key).texts == ask(candidate, questions, key).texts


def by_steps(answers: Answers, steps: list[list[np.ndarray]]) -> Answers:
    """The same samples with what a scorer made of their steps."""
    return replace(answers, judged={"prm": StepScores(steps, answers.lengths + 5, answers.lengths * 2.0 + 1.0)})


@settings(max_examples=40)
@given(sampled(), st.sampled_from([1, 3, 4, 12]), st.integers(0, 2**32 - 1))
def test_ways_by_a_scorer_are_those_by_its_numbers_and_a_perfect_one_finds_what_is_right(answers, size, seed):
    chance = np.random.default_rng(seed)
    steps = [[chance.random(chance.integers(1, 5)) for _ in range(SAMPLES)] for _ in range(3)]
    drawn = by_steps(answers, steps)
    # Numbers of steps by numpy over ragged rows, as a score of the exam.
    for aggregate, of in (
        (last, lambda row: row[-1]),
        (mean, np.mean),
        (minimum, np.min),
        (product, np.prod),
        (total, np.sum),
    ):
        values = np.array([[of(row) for row in group] for group in steps])
        known = replace(answers, scores=answers.scores | {"known": values})
        for way in (Weighted, BestOf):
            found = chosen(way(size=size, by=ByScorer(scorer="prm", aggregate=aggregate)), drawn)
            np.testing.assert_array_equal(found, chosen(way(size=size, by=Scored("known")), known))
    right_PS = answers.scores["right"]
    perfect = by_steps(answers, [[np.array([0.9, value]) for value in row] for row in right_PS])
    best, alike = BestOf(size=size, by=ByScorer(scorer="prm")), Weighted(size=size, by=ByScorer(scorer="prm"))
    any_right = right_PS[:, : SAMPLES // size * size].reshape(3, -1, size).max(axis=2)
    np.testing.assert_array_equal(columns(perfect, best)["best_prm_last@" + str(size)], any_right)
    even = by_steps(answers, [[np.array([0.3])] * SAMPLES] * 3)
    np.testing.assert_array_equal(chosen(alike, even), chosen(Majority(size=size), answers))
    flops_PV = (answers.lengths * 2.0 + 1.0)[:, : SAMPLES // size * size].reshape(3, -1, size).sum(axis=2)
    np.testing.assert_allclose(scorer_flops(best, even), flops_PV.mean(axis=1))
    assert not scorer_flops(Majority(size=size), even).any()


@dataclass(frozen=True)
class ByLength:
    """A scorer that gives each step the share of the reply that has been read by then."""

    separator: str

    def scores(self, prompts, replies, ends) -> list[np.ndarray]:
        assert all(each[-1] == len(reply) - 1 for each, reply in zip(ends, replies, strict=True))
        return [(np.array(each) + 1.0) / len(reply) for each, reply in zip(ends, replies, strict=True)]

    def cost(self, prompts, replies, ends) -> Cost:
        read = np.array([len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)])
        return Cost(read, 2.0 * read)


def test_scorers_of_the_exam_are_asked_about_all_samples_and_rows_keep_what_they_said(base: Artifact):
    candidate = replace(tiny_stages.candidate(base), scorers={"half": ByLength("="), "other": ByLength("")})
    questions, key = questions_for(candidate), jax.random.key(3)
    method = Selections(ways=(Weighted(size=3, by=ByScorer(scorer="half", aggregate=mean)), Majority(size=3)))
    assert scorers_of(method) == ("half",)
    answers = method.replies(candidate, questions, key)
    rollouts = draw(candidate, questions, key)
    assert graded(candidate, questions, rollouts).texts == answers.texts and list(answers.judged) == ["half"]
    judged = answers.judged["half"]
    for problem, prompt in enumerate(questions.prompts):
        for sample, length in enumerate(answers.lengths[problem]):
            assert judged.tokens[problem, sample] == len(prompt) + length
            assert judged.steps[problem][sample][-1] == 1.0
            text = candidate.tokenizer.decode(rollouts.tokens[problem, sample, :length])
            assert len(judged.steps[problem][sample]) == text.count("=") + (not text.endswith("="))
    read = answers_of(rows_of("base", questions.problems, answers, method.name))
    np.testing.assert_array_equal(read.judged["half"].flops, judged.flops)
    np.testing.assert_array_equal(chosen(method.ways[0], read), chosen(method.ways[0], answers))
    with pytest.raises(InputError, match="there is no scorer half to choose by; there are none: name it in the exam's"):
        method.replies(replace(candidate, scorers={}), questions, key)
