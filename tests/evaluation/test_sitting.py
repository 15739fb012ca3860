"""Methods tell, before there is a model, the very programs that their replies are made by."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import tiny_stages
from planned import not_traced
from tiny_stages import NEW_TOKENS, quiz

from reasoning.core.artifact import Artifact
from reasoning.core.prng import stage_key
from reasoning.core.program import Program
from reasoning.data.tokenizers.tokenizer import stop_ids
from reasoning.evaluation.budget import Budget
from reasoning.evaluation.constrained import Constrained, one_label
from reasoning.evaluation.exam import Exam, longest_of, questions_of
from reasoning.evaluation.likelihood import Likelihood
from reasoning.evaluation.methods import Beam, Greedy, Method, Samples
from reasoning.evaluation.scorers import Cost, Tokens
from reasoning.evaluation.selection import BestOf, ByScorer, Majority, Selections
from reasoning.evaluation.sitting import Foreseen, Sitting
from reasoning.evaluation.steps import StepSearch
from reasoning.evaluation.true_thinking import TrueThinking
from reasoning.evaluation.verifier import Verifier, verifying, verifying_told
from reasoning.generation.prompts import PromptStyle
from reasoning.rewards.labels import Label
from reasoning.tasks.problems import Problem

KEY = stage_key(0, "exam")
LABELS = {"labels": ["3", "2", "11"]}
CHOSEN = (Problem("1+1=", "2", "sums", LABELS), Problem("2+9-4=", "3", "sums", LABELS))


def sitting_of(base: Artifact, exam: Exam, problems: tuple[Problem, ...]) -> tuple[Sitting, list[str]]:
    """An exam of the base, before it is asked, with the notes that its methods make."""
    candidate, notes = tiny_stages.candidate(base, exam), list[str]()

    def longest_in(style: PromptStyle) -> int:
        context = candidate.model.config.context
        return longest_of(questions_of(exam, candidate.tokenizer, context, style, problems))

    sitting = Sitting(
        exam=exam,
        model=candidate.model,
        mesh=candidate.mesh,
        style=exam.style,
        prompts=len(problems),
        longest=longest_in(exam.style),
        ends=stop_ids(candidate.tokenizer, exam.chat),
        problems=problems,
        longest_in=longest_in,
        tokenizer=candidate.tokenizer,
        note=notes.append,
    )
    return sitting, notes


def untold(method: Method, base: Artifact, exam: Exam, problems: tuple[Problem, ...]) -> tuple[list[str], list[str]]:
    """The names of a method's programs, and those that its replies don't trace."""
    assert isinstance(method, Foreseen)
    sitting, _ = sitting_of(base, exam, problems)
    told = tuple(method.programs(sitting))
    candidate = tiny_stages.candidate(base, exam)
    questions = questions_of(exam, candidate.tokenizer, candidate.model.config.context, problems=problems)
    return [one.name for one in told], not_traced(told, lambda: method.replies(candidate, questions, KEY))


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (Selections(ways=(Majority(size=3),)), ["selections"]),
        (Beam(beams=2), ["beam@2"]),
        (Budget(tokens=2, samples=2), ["budget@2: think", "budget@2: answer"]),
    ],
)
def test_a_method_tells_the_programs_that_it_replies_by(base: Artifact, method, names):
    exam = quiz()
    assert untold(method, base, exam, exam.problems.problems()) == (names, [])


def test_a_method_that_weighs_labels_tells_how_it_scores_them(base: Artifact):
    exam = quiz(scores=(Label(),), rates=(), batch=2)
    method = Likelihood(form="<answer>{label}</answer>")
    assert untold(method, base, exam, CHOSEN) == (["likelihood: batch", "likelihood: score"], [])
    _, score = method.programs(sitting_of(base, exam, CHOSEN)[0])
    assert score.calls == 3 and set(score.beside) == {"weights"}


@dataclass
class Longest:
    """A scorer that likes long replies."""

    separator: str = ""

    def scores(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> list[np.ndarray]:
        return [np.full(len(own), len(reply) / 100) for reply, own in zip(replies, ends, strict=True)]

    def cost(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> Cost:
        return Cost.nothing(len(prompts))


def test_a_search_over_steps_tells_what_reads_and_what_goes_on(base: Artifact):
    exam, method = quiz(max_new_tokens=10), StepSearch(scorer="by", beams=2, branches=3, separator="=", step_tokens=4)
    problems = exam.problems.problems()
    sitting, _ = sitting_of(base, exam, problems)
    read, go_on = method.programs(sitting)
    candidate = replace(tiny_stages.candidate(base, exam), scorers={"by": Longest()})
    questions = questions_of(exam, candidate.tokenizer, candidate.model.config.context, problems=problems)
    assert not_traced((read, go_on), lambda: method.replies(candidate, questions, KEY)) == []
    assert (read.name, go_on.name, go_on.calls) == (f"{method.name}: read", f"{method.name}: go on", 3)
    assert go_on.tokens == 3 * read.tokens


def test_what_only_replies_would_tell_is_said(base: Artifact):
    exam = quiz()
    sitting, notes = sitting_of(base, exam, exam.problems.problems())
    assert [one.name for one in TrueThinking().programs(sitting)][0] == "true_thinking"
    assert notes == ["true_thinking: of the texts that it reads again one batch of 64 is counted"]
    unknown = replace(sitting, problems=(), note=notes.append)
    assert [one.calls for one in Likelihood().programs(unknown)] == [2, 2]  # of twice four texts, four at once
    assert "each is taken to have two labels" in notes[-1]


def test_tokens_and_turns_are_those_of_all_replies_at_the_limit(base: Artifact):
    exam = quiz()
    sitting, _ = sitting_of(base, exam, exam.problems.problems())
    [greedy], [samples] = Greedy().programs(sitting), Samples().programs(sitting)
    assert (greedy.tokens, samples.tokens) == (4 * NEW_TOKENS, 4 * 4 * NEW_TOKENS)
    [searched] = Beam(beams=3).programs(sitting)
    assert searched.tokens == 4 * 3 * NEW_TOKENS and max(searched.trips.values()) == NEW_TOKENS


def test_replies_within_a_pattern_are_drawn_by_a_program_a_table(base: Artifact):
    exam = quiz(scores=(Label(),), rates=(), max_new_tokens=8)
    method = Constrained(pattern=one_label, form="<answer>{reply}</answer>")
    others = replace(CHOSEN[1], columns={"labels": ["3", "7"]})
    assert untold(method, base, exam, (*CHOSEN, others)) == (["constrained"] * 2, [])
    sitting, notes = sitting_of(base, exam, (*CHOSEN, others))
    two, one = method.programs(sitting)
    assert two.trips["writing"] == one.trips["writing"] == 8 and two.tokens == 2 * one.tokens
    [plain] = method.programs(replace(sitting, problems=()))
    assert plain.tokens == 3 * 8 and "aren't counted" in notes[-1]


def test_who_asks_a_scorer_tells_how_many_replies_it_reads(base: Artifact):
    exam = quiz(max_new_tokens=10)
    sitting, _ = sitting_of(base, exam, exam.problems.problems())
    read: list[tuple[int, int]] = []

    def reads(texts: int, longest: int) -> list[Program]:
        read.append((texts, longest))
        return [Program("judge", len, ())]

    asked = replace(sitting, scorers={"by": reads})
    ways = (BestOf(by=ByScorer(scorer="by"), size=3), Majority(size=3))
    told = [*Selections(ways=ways).programs(asked)]
    told += StepSearch(scorer="by", beams=2, branches=3, step_tokens=4).programs(asked)
    assert [one.name for one in told if set(one.beside) == {"weights"}] == ["judge"] * 2
    # Of 4 problems 4 samples, and 6 candidates in each of three turns.
    assert read == [(4 * 4, sitting.longest + 10), (4 * 6 * 3, sitting.longest + 10)]
    assert [*Selections(ways=ways[1:]).programs(asked)][1:] == []


def test_a_verifier_reads_each_reply_with_either_answer(base: Artifact):
    exam, verifier = quiz(max_new_tokens=4), Verifier(question="{reply}", yes="1", no="2")
    candidate = tiny_stages.candidate(base, exam)
    sitting, _ = sitting_of(base, exam, exam.problems.problems())
    told = tuple(verifying_told(verifier, sitting, 4, sitting.longest + 4))
    assert [one.name for one in told] == ["verifier: batch", "verifier: score"] and told[1].calls == 2
    [scorer] = verifying((verifier,), candidate).values()
    prompts, replies = [[5, 6]] * 2, [[7, 8, 9]] * 2
    assert not_traced(told, lambda: scorer.scores(prompts, replies, [[2], [2]])) == []
