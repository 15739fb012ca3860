"""Methods: what each replies and which columns it has, what a vote elects, and one of a user's own from a file.

Shapes: P problems, S samples, V votes.
"""

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
from small_project import new_project
from tiny_stages import NEW_TOKENS, questions_for, quiz

from reasoning.cli.main import main
from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.core.prng import stage_key
from reasoning.core.statistics import pass_at_k
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import SMOLLM_2
from reasoning.data.tokenizers.tokenizer import end_ids
from reasoning.evaluation.exam import Answers, Exam, ask
from reasoning.evaluation.methods import (
    Beam,
    Greedy,
    Samples,
    Spending,
    Weighing,
    check_methods,
    columns_of,
    elections,
    replies_by,
    scores_of_elected,
    tokens_of,
)
from reasoning.evaluation.results import Replies, read_results, read_samples
from reasoning.evaluation.selection import Selections
from reasoning.experiment.reader import read_experiment
from reasoning.generation.beam import BeamSettings, build_beam
from reasoning.rewards.accuracy import lenient
from reasoning.rewards.text import read_answer
from reasoning.use.run_folder import open_run

KEY = stage_key(0, "exam")


def answers(given: list[list[str | None]], log_probs: Any = None, right: str = "rr") -> Answers:
    """Replies with these answers, likely alike by default; those that answer ``right`` score 1."""
    shape = (len(given), len(given[0]))
    scores = np.array([[float(answer == right) for answer in group] for group in given])
    values = np.full(shape, -1.0) if log_probs is None else np.array(log_probs, np.float64)
    texts = [[f"={answer}" for answer in group] for group in given]
    return Answers(texts, np.ones(shape, int), {"strict": scores}, values, given)


@pytest.mark.parametrize(
    ("given", "size", "elected"),
    [
        (["6", "7", "7", "7"], 4, [1]),  # the first sample with the winning answer
        (["6", "7", "7", "6"], 4, [0]),
        (["6", "7", "7", "7"], 2, [0, 2]),
        (["6", "7", "7", "7", "6"], 2, [0, 2]),  # a sample that makes no whole vote is left out
        ([None, None, "7", None], 2, [-1, 2]),
        ([None, "5", None, "5"], 4, [1]),
        (["6", "7", "8"], 1, [0, 1, 2]),
        ([None, "7"], 1, [-1, 1]),
    ],
)
def test_a_vote_elects_a_sample(given, size, elected):
    assert elections(answers([given, given]), size, weighted=False).tolist() == [elected, elected]


def test_a_weighted_vote_elects_by_probability():
    given, log_probs = [["6", "7", "7", "8"]], [[-1.0, -3.0, -3.0, -9.0]]
    assert elections(answers(given, log_probs), 4, weighted=True).tolist() == [[0]]
    assert elections(answers(given, log_probs), 4, weighted=False).tolist() == [[1]]
    assert elections(answers(given, [[-1.0, -1.5, -1.5, -9.0]]), 4, weighted=True).tolist() == [[1]]


def test_a_vote_scores_what_its_sample_scores_and_without_an_answer_zero():
    scores = np.array([[0.0, 1.0, 0.5], [1.0, 1.0, 1.0]])
    assert scores_of_elected(scores, np.array([[1, 2], [-1, 0]])).tolist() == [[1.0, 0.5], [0.0, 1.0]]
    lost = np.array([[np.nan, 1.0, 0.5], [np.nan, 0.0, 0.0], [np.nan] * 3])
    elected = scores_of_elected(lost, np.array([[0, 1], [-1, 0], [-1, 2]]))
    np.testing.assert_array_equal(elected, [[np.nan, 1.0], [0.0, np.nan], [np.nan] * 2])  # NaN: not graded


SAMPLED = answers(
    [["rr", "6", None, "rr"], ["5", "rr", "6", "6"], ["rr", "rr", "rr", "rr"]],
    [[-1.0, -5.0, -1.0, -5.0], [-9.0, -1.0, -3.0, -3.0], [-1.0] * 4],
)


def test_samples_have_columns_of_their_own_and_other_methods_one_by_their_name():
    scores = SAMPLED.scores["strict"]
    columns = columns_of(Samples(ks=(2,), votes=(2, 4)), SAMPLED, "strict")
    expected = {
        "pass@1": scores,
        "pass@2": pass_at_k(np.array([2, 1, 4]), 4, 2),
        "majority@2": [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]],
        "weighted@2": [[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]],
        "majority@4": [[1.0], [0.0], [1.0]],
        "weighted@4": [[1.0], [1.0], [1.0]],
    }
    assert list(columns) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(columns[name], values, err_msg=name)
    assert list(columns_of(Greedy(), SAMPLED, "strict")) == ["greedy"]
    assert columns_of(Beam(beams=4), SAMPLED, "strict") == {"beam@4": scores}


REPLIES = (
    ("2000", ["So he pays $3,000.", "The answer is 2,000.", "It is 2,000 in all.", "That makes 5,000."]),
    ("6", ["It is 6.", "so 7", "It is 6.0", "It is $6.00"]),
    ("6", ["<answer>7</answer>", "<answer>6 apples</answer>", "<answer>$6</answer>", "<answer>6.</answer>"]),
    ("-5", ["5", "\u22125", "9 - 14 = -5.0", "that is -$5"]),
    ("1234.5", ["1,234.50", "234.50", "1 and 234.5", "$1234.5"]),
    ("Paris", ["1,000 times:\nParis", "= Rome", "Paris", "In 1000\nParis"]),
)
"""Right answers with four replies each, of which most are right however they are spelled, and one is wrong."""


def test_a_vote_counts_numbers_as_the_scores_do():
    texts = [replies for _, replies in REPLIES]
    given = [[read_answer(text, right, SMOLLM_2) for text in replies] for right, replies in REPLIES]
    scores = [lenient([""] * 4, replies, [right] * 4, chat=SMOLLM_2) for right, replies in REPLIES]
    sampled = Answers(
        texts, np.ones((len(REPLIES), 4), int), {"lenient": np.array(scores)}, np.zeros((len(REPLIES), 4)), given
    )
    columns = columns_of(Samples(votes=(4,)), sampled, "lenient")
    assert columns["majority@4"].tolist() == columns["weighted@4"].tolist() == [[1.0]] * len(REPLIES)


def test_a_score_that_is_neither_right_nor_wrong_has_no_pass_at_k():
    partial = Answers(
        SAMPLED.texts, SAMPLED.lengths, {"share": np.full((3, 4), 0.6)}, SAMPLED.log_probs, SAMPLED.answers
    )
    assert columns_of(Samples(votes=(2,)), partial, "share")["pass@1"].mean() == pytest.approx(0.6)
    message = r"the score share: it gave a reply 0\.6, but pass@k counts .*; put it into the exam's rates, or drop ks"
    with pytest.raises(InputError, match=message):
        columns_of(Samples(ks=(2,)), partial, "share")


def test_samples_are_as_many_as_the_exam_says_unless_they_say_so_themselves_and_carry_passes_and_votes():
    exam = quiz()
    assert [method.cost(exam) for method in (Greedy(), Samples(), Samples(samples=2), Beam(beams=3))] == [1, 4, 2, 3]
    Samples(ks=(4,), votes=(1, 4)).check(exam)
    with pytest.raises(InputError, match="pass@3 can't be estimated from 2 samples a problem; raise the exam's"):
        Samples(samples=2, ks=(2, 3)).check(exam)
    with pytest.raises(InputError, match="a vote@8 can't be estimated from 4 samples"):
        Samples(votes=(4, 8)).check(exam)


@dataclass(frozen=True)
class Named(Greedy):
    """Greedy replies under a name of one's own."""

    called: str = ""

    @property
    def name(self) -> str:
        return self.called


@pytest.mark.parametrize("name", ["", "a/b", "a b", "../a"])
def test_a_method_whose_name_can_be_no_file_is_refused(name: str):
    with pytest.raises(InputError, match=f"methods has a method named '{name}'; use letters, digits and any of"):
        check_methods("methods", (Named(name),), quiz())


def test_no_methods_two_of_one_name_and_one_that_does_not_fit_are_refused_by_their_field():
    for methods, message in (
        ((), "further is empty; name at least one"),
        ((Samples(), Samples(samples=2)), "further has two methods named 'samples'; drop one of them, or rename it"),
        ((Samples(ks=(5,)),), "pass@5 can't be estimated from 4 samples"),
    ):
        with pytest.raises(InputError, match=message):
            check_methods("further", methods, quiz())


def test_greedy_replies_are_the_likeliest_and_samples_are_drawn_at_the_exams_temperature(base: Artifact):
    candidate = tiny_stages.candidate(base)
    questions = questions_for(candidate)
    greedy = Greedy().replies(candidate, questions, KEY)
    assert greedy.texts == [group[:1] for group in ask(candidate, questions, KEY, temperature=0.0).texts]
    assert Samples().replies(candidate, questions, KEY).texts == ask(candidate, questions, KEY, temperature=1.0).texts
    assert [len(group) for group in Samples(samples=2).replies(candidate, questions, KEY).texts] == [2] * 4


def test_a_beam_search_answers_once_with_its_best(base: Artifact):
    candidate = tiny_stages.candidate(base, quiz(batch=3))  # the last batch is filled up
    questions = questions_for(candidate)
    asked = Beam(beams=3).replies(candidate, questions, KEY)
    settings = BeamSettings(3, NEW_TOKENS, end_ids(candidate.tokenizer, ChatFormat()))
    best = build_beam(candidate.model, candidate.mesh, settings)(candidate.weights, questions.prompts)
    np.testing.assert_array_equal(asked.lengths[:, 0], best.rollouts.lengths[:, 0])
    np.testing.assert_allclose(asked.log_probs[:, 0] / asked.lengths[:, 0], best.scores[:, 0], rtol=1e-4)
    assert all(len(group) == 1 for group in asked.texts)
    # Each beam is a token longer with each step.
    assert isinstance(Beam(beams=3), Spending) and asked.spent is not None
    assert isinstance(Selections(ways=()), Weighing) and not isinstance(Beam(beams=3), Weighing)
    np.testing.assert_array_equal(asked.spent, 3 * best.rollouts.lengths.max(axis=1))
    np.testing.assert_array_equal(tokens_of(Beam(beams=3), asked)["beam@3"], asked.spent)


METHOD = '''
"""A search of a user's own."""

from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.evaluation.exam import ask


@dataclass(frozen=True)
class BestOfN:
    """The likeliest of N samples."""

    n: int = 8

    @property
    def name(self):
        return f"best_of_{self.n}"

    def check(self, exam):
        if exam.temperature == 0:
            raise InputError("of equal samples none is best; raise the exam's temperature")

    def cost(self, exam):
        return self.n

    def replies(self, candidate, questions, key):
        answers = ask(candidate, questions, key, samples=self.n)
        return answers.pick(answers.log_probs.argmax(axis=1))
'''

EXAM = """
asked = problems
asked.split = 'test'
quiz = @evaluation.Exam
quiz.problems = asked
quiz.scores = (@{module}.ends,)
quiz.rates = (@rewards.format.tagged,)
quiz.max_new_tokens = 8
quiz.samples = 8
quiz.chat = talk
greedy = @evaluation.methods.Greedy
samples = @evaluation.methods.Samples
best = @{module}.BestOfN
exam = @stages.Evaluate
exam.checkpoints = (base,)
exam.quiz = quiz
exam.methods = (greedy, samples, best)
run.stages = (exam,)
"""

SCORE = """

def ends(completions, truncated, **columns):
    return [float(not cut) for cut in truncated]
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a user's file with a method of its module; the text of what goes wrong, or nothing."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(jax.config.values["jax_compilation_cache_dir"]))
    project = new_project(tmp_path)
    file = tmp_path / f"{project.module}_search.py"
    file.write_text(METHOD + SCORE)
    project.file.write_text(
        project.file.read_text().replace("run.stages = (zero,)\n", "") + EXAM.format(module=file.stem)
    )
    yield project, file
    sys.modules.pop(file.stem, None)


def test_a_users_own_method_stands_in_all_results_with_the_numbers_of_its_replies(command):
    project, module = command
    assert main(project.arguments()) == 0
    exam = open_run(project.out)["exam"]
    rows: dict[str, list[Replies]] = {}
    for row in read_samples(exam.path / "samples.jsonl"):
        rows.setdefault(row.method, []).append(row)
    assert {name: len(each) for name, each in rows.items()} == {"greedy": 8, "samples": 8, "best_of_8": 8}
    # All methods draw with one key, so the best of eight is the likeliest of the eight samples.
    chosen = [int(np.argmax(row.log_probs)) for row in rows["samples"]]
    pairs = list(zip(rows["samples"], chosen, strict=True))
    assert [row.texts for row in rows["best_of_8"]] == [(row.texts[number],) for row, number in pairs]
    scores = read_results(exam.path).checkpoints["base"]
    assert list(scores) == ["ends/greedy", "ends/pass@1", "ends/best_of_8", "tagged", "length", "distinct"]
    direct = np.mean([row.scores["ends"][number] for row, number in pairs])
    assert scores["ends/best_of_8"].mean == exam.results["base/ends/best_of_8"] == direct
    assert scores["ends/best_of_8"].n == 8
    # What is said of samples as a whole comes from the eight, not from the one.
    assert scores["length"].mean == np.mean([row.lengths for row in rows["samples"]])
    record = read_json(exam.path / "artifact.json")
    assert record["sources"] == {module.stem: hashlib.sha256(module.read_bytes()).hexdigest()}
    assert record["settings"]["methods"][2] == {"@": f"{module.stem}.BestOfN", "n": 8}


def test_what_is_wrong_with_methods_is_said_with_its_place_in_the_file(command):
    project, module = command
    text, stage = project.file.read_text(), "exam = @stages.Evaluate"
    for line, blamed, message in (
        ("quiz.temperature = 0.0", stage, "of equal samples none is best; raise the exam's temperature"),
        ("samples.ks = (9,)", stage, "pass@9 can't be estimated from 8 samples"),
        ("exam.methods = (best, best)", stage, "methods has two methods named 'best_of_8'; drop one"),
        ("exam.methods = ()", stage, "methods is empty; name at least one"),
        ("exam.style_methods = (quiz,)", None, "exam.style_methods[0] must be a evaluation.methods.Method, not a part"),
        (f"exam.methods = (@{module.stem}.BestOfN,)", None, "BestOfN is a dataclass; define a part"),
    ):
        project.file.write_text(f"{text}{line}\n")
        with pytest.raises(InputError) as complaint:
            read_experiment(project.file)
        lines = project.file.read_text().splitlines()
        place = f"small.gin:{1 + lines.index(blamed or line)}: {blamed or line}\n"
        assert message in str(complaint.value) and place in str(complaint.value) and "^" in str(complaint.value)


@dataclass(frozen=True)
class Careless:
    """A user's method that gives whatever it holds."""

    gives: Any
    name: str = "careless"

    def cost(self, exam: Exam) -> int:
        return 1

    def replies(self, candidate: Any, questions: Any, key: Any) -> Any:
        return self.gives


def test_a_method_that_gives_no_answers_or_too_few_is_refused_with_its_place(base: Artifact):
    asked = tiny_stages.candidate(base)
    questions = tiny_stages.questions_for(asked)
    with pytest.raises(InputError, match=r"Careless.replies \(test_methods.py:\d+\) gave None; it must return Answers"):
        replies_by(Careless(None), asked, questions, jax.random.key(0))
    answers = replies_by(Greedy(), asked, questions, jax.random.key(0))
    fewer = replace(answers, texts=answers.texts[1:])
    with pytest.raises(InputError, match="gave Answers to 3, 4 questions where 4 were asked"):
        replies_by(Careless(fewer), asked, questions, jax.random.key(0))
