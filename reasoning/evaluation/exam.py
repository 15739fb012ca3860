"""Asking a model held-out problems: the questions, how many samples, and how replies are scored.

Shapes: P problems, S samples a problem.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.mesh import check_room
from reasoning.core.ranges import NonNegative, Size
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.classes import Measure
from reasoning.evaluation.scorers import Scorer, StepScores, read_by
from reasoning.generation.engine import Generate, Rollouts
from reasoning.generation.prompts import PromptStyle, reply_opening
from reasoning.models.cache import Weights
from reasoning.models.model import Model
from reasoning.models.parameters import Params
from reasoning.rewards.reward import reader_of
from reasoning.rewards.text import read_answer
from reasoning.rollouts.rating import Reward, check_judged, check_names, check_problems, rate
from reasoning.rollouts.sampling import TruncatedSampling, sample_for_all, sampler_for, truncating, truncation_of
from reasoning.rollouts.text import AS_IT_IS, decode_replies, encode_prompts
from reasoning.tasks.problems import Problem


@dataclass(frozen=True, kw_only=True)
class Exam(TruncatedSampling):
    """A set of problems and how they are asked; the same for the final evaluation and for probes during training."""

    scores: tuple[Reward, ...]  # right or wrong, 1 or 0: these get a column for each method
    rates: tuple[Reward, ...] = ()  # other shares, of which only the mean is of interest
    measures: tuple[Measure, ...] = ()  # of answers that are classes: numbers of all replies together, and confusions
    temperature: NonNegative = 1.0
    batch: Size = 64  # problems that a beam search holds at once, and texts whose probability is asked
    style: PromptStyle = AS_IT_IS  # how each question is put

    def __post_init__(self) -> None:
        check_names((*self.scores, *self.rates, *self.measures), "an exam")


def check_exam(exam: Exam, mesh: Mesh, what: str) -> None:
    """Raises InputError for a problem that a score or rate can't judge, and where ``what``, its replies to one batch
    of problems, can't be in memory at once.
    """
    check_judged((*exam.scores, *exam.rates), exam.problems)
    check_room(min(exam.batch, exam.problems.count) * exam.samples * exam.max_new_tokens, mesh, what)


@dataclass(frozen=True)
class Questions:
    """An exam's problems and what the model reads of each in one style, as token ids."""

    problems: tuple[Problem, ...]
    prompts: list[list[int]]
    style: PromptStyle


@dataclass(frozen=True)
class Candidate:
    """A model under examination: ``weights`` are as its engine wants them.

    ``params()`` are the parameters that training has, for whoever scores texts by its path; they are read only when
    somebody asks, so that an exam that samples holds them once. ``scorers`` judge its replies, by name.
    """

    exam: Exam
    model: Model
    mesh: Mesh
    tokenizer: Tokenizer
    weights: Weights
    params: Callable[[], Params]
    scorers: Mapping[str, Scorer] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """Replies [P][S] as text, their lengths in tokens, and values [P, S] of each score and rate by its name.

    ``log_probs`` [P, S] are summed over a reply's tokens, under the distribution that was sampled from. ``answers`` are
    those that replies give, as the first score that reads them itself does (``rewards.reward.Reading``), else as
    ``rewards.text.read_answer`` does; None where one gives none or was cut off before its end. ``ungraded`` and
    ``judgements`` are those of ``rating.Ratings``; what was not graded has the value NaN. ``probabilities`` [P] are by
    answer, of methods that weigh all answers to a problem instead of drawing one. ``spent`` [P] are the tokens
    that were decoded for each problem, where they are others than those of the replies that are left. ``judged`` is
    what scorers made of the replies, by their names.
    """

    texts: list[list[str]]
    lengths: np.ndarray
    scores: dict[str, np.ndarray]
    log_probs: np.ndarray
    answers: list[list[str | None]]
    ungraded: dict[str, np.ndarray] = field(default_factory=dict)
    judgements: dict[str, np.ndarray] = field(default_factory=dict)
    probabilities: list[dict[str, float]] = field(default_factory=list)
    spent: np.ndarray | None = None
    judged: dict[str, StepScores] = field(default_factory=dict)

    @property
    def decoded(self) -> np.ndarray:
        """The tokens [P] that were decoded for each problem."""
        return self.lengths.sum(axis=1) if self.spent is None else self.spent

    def pick(self, chosen_P: Sequence[int] | np.ndarray) -> "Answers":
        """One reply a problem, by its number among the problem's samples."""
        at = [int(number) for number in chosen_P]
        rows = np.arange(len(at))

        def picked(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: values_PS[rows, at][:, None] for name, values_PS in values.items()}

        return Answers(
            texts=[[texts[number]] for texts, number in zip(self.texts, at, strict=True)],
            lengths=self.lengths[rows, at][:, None],
            scores=picked(self.scores),
            ungraded=picked(self.ungraded),
            judgements=picked(self.judgements),
            log_probs=self.log_probs[rows, at][:, None],
            answers=[[answers[number]] for answers, number in zip(self.answers, at, strict=True)],
            probabilities=self.probabilities,
            spent=self.decoded,
        )


def questions_of(
    exam: Exam,
    tokenizer: Tokenizer,
    context: int,
    style: PromptStyle | None = None,
    problems: tuple[Problem, ...] | None = None,
) -> Questions:
    """An exam's questions in ``style`` (by default its own); ``problems`` are the exam's, where they are at hand.

    Raises InputError as ``encode_prompts`` does, and for a problem that a score or rate can't judge.
    """
    style, problems = style or exam.style, problems or exam.problems.problems()
    check_problems((*exam.scores, *exam.rates), problems)
    prompts = encode_prompts(problems, exam.chat, tokenizer, exam.max_new_tokens, context, style)
    return Questions(problems, prompts, style)


def longest_of(questions: Questions) -> int:
    """How many tokens the longest prompt has, so that all batches of an exam are one program."""
    return max(map(len, questions.prompts))


def candidate_of(exam: Exam, model: Model, mesh: Mesh, tokenizer: Tokenizer, params: Callable[[], Params]) -> Candidate:
    """A model with the weights that decode, from its parameters, which ``params()`` gives."""
    engine = sampler_for(model, mesh, tokenizer, exam.chat, 1, exam.max_new_tokens)
    return Candidate(exam, model, mesh, tokenizer, engine.publish(params()), params)


def ask(
    candidate: Candidate, questions: Questions, key: jax.Array, samples: int = 0, temperature: float | None = None
) -> Answers:
    """Sampled replies to all questions; number and temperature are the exam's where they aren't given.

    Raises InputError as ``graded`` does.
    """
    return graded(candidate, questions, draw(candidate, questions, key, samples, temperature))


def draw(
    candidate: Candidate, questions: Questions, key: jax.Array, samples: int = 0, temperature: float | None = None
) -> Rollouts:
    """The replies of ``ask`` as token ids, on every process."""
    exam = candidate.exam
    model, mesh, samples = candidate.model, candidate.mesh, samples or exam.samples
    limit, longest = exam.max_new_tokens, longest_of(questions)
    engine = sampler_for(model, mesh, candidate.tokenizer, exam.chat, samples, limit, exam.slots, longest)
    heat = exam.temperature if temperature is None else temperature
    generate = truncating(engine.generate, truncation_of(exam))
    return in_batches(generate, candidate, questions, len(questions.prompts), key, heat)


def in_batches(
    generate: Generate, candidate: Candidate, questions: Questions, batch: int, key: jax.Array, temperature: float
) -> Rollouts:
    """What ``generate`` gives to all questions, on every process; each process asks its share of every batch."""
    prompts = questions.prompts
    parts = [
        sample_for_all(generate, candidate.weights, prompts, start, batch, key, temperature)
        for start in range(0, len(prompts), batch)
    ]
    return Rollouts(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rollouts.names()))


def graded(candidate: Candidate, questions: Questions, rollouts: Rollouts) -> Answers:
    """Completions as text with their scores and answers.

    Raises InputError for a score that doesn't apply to some reply, since every problem counts.
    """
    exam, problems = candidate.exam, questions.problems
    graders = (*exam.scores, *exam.rates)
    answers = judged(graders, problems, rollouts, candidate.tokenizer, exam.chat, questions.style)
    for name, values in answers.scores.items():
        if (np.isnan(values) & ~answers.ungraded[name]).any():
            raise InputError(f"the score {name} gave None for a reply; in an exam it must give every reply a number")
    return answers


def step_scores(
    candidate: Candidate, questions: Questions, rollouts: Rollouts, names: Sequence[str]
) -> dict[str, StepScores]:
    """What the candidate's scorers of these ``names`` make of all replies. Raises InputError for one that isn't there.

    A reply without tokens, which nobody wrote, is not read; its one score is 0.
    """
    shape = rollouts.lengths.shape
    prompts = [prompt for prompt in questions.prompts for _ in range(shape[1])]
    rows = zip(rollouts.tokens.reshape(len(prompts), -1).tolist(), rollouts.lengths.reshape(-1).tolist(), strict=True)
    replies = [ids[:length] for ids, length in rows]
    found: dict[str, StepScores] = {}
    for name in dict.fromkeys(names):
        if name not in candidate.scorers:
            there = ", ".join(candidate.scorers) or "none"
            raise InputError(
                f"there is no scorer {name} to choose by; there are {there}: name it in the exam's scorers"
            )
        steps_R, cost = read_by(candidate.scorers[name], candidate.tokenizer, prompts, replies)
        steps = [steps_R[start : start + shape[1]] for start in range(0, len(replies), shape[1])]
        found[name] = StepScores(steps, cost.tokens_R.reshape(shape), cost.flops_R.reshape(shape))
    return found


def judged(
    rewards: Sequence[Reward],
    problems: Sequence[Problem],
    rollouts: Rollouts,
    tokenizer: Tokenizer,
    chat: ChatFormat,
    style: PromptStyle = AS_IT_IS,
) -> Answers:
    """Completions as text, with the answers that they give and each reward's values, NaN where it doesn't apply."""
    texts = decode_replies(tokenizer, rollouts, chat, reply_opening(style, chat))
    rated = rate(rewards, problems, texts, rollouts.truncated, rollouts.lengths, chat)
    readers = [reader_of(rewards, problem) or read_answer for problem in problems]
    answers = [
        [None if cut else read(text, problem.answer, chat) for text, cut in zip(*group, strict=True)]
        for read, problem, *group in zip(readers, problems, texts, rollouts.truncated, strict=True)
    ]
    log_probs = rollouts.log_probs.sum(axis=-1, dtype=np.float64)
    return Answers(texts, rollouts.lengths, rated.values, log_probs, answers, rated.ungraded, rated.judgements)


def graded_mean(values: np.ndarray) -> float:
    """The mean of what was graded; NaN where nothing was."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
