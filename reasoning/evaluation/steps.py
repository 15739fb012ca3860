"""Search over the steps of a reply under a scorer: step beam, and trees that are kept apart (DVTS).

Beeching et al. 2024, "Scaling test-time compute with open models"; Snell et al., arXiv 2408.03314, section 5.

Shapes: P problems, N new tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import jax
import numpy as np

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, NonNegative, Size
from reasoning.data.tokenizers.tokenizer import ids_with, stop_ids
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, graded, longest_of
from reasoning.evaluation.scorers import Aggregation, Cost, Scorer, StepScores, aggregated, last
from reasoning.generation.engine import Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.rollouts.sampling import truncating, truncation_of

_SLOTS = 64
"""Candidates that a device writes side by side where the exam doesn't say."""

_SHORT = 4
"""Prefixes up to this part of the longest reply are padded to that, so that early steps aren't as dear as late ones."""


@dataclass(frozen=True, kw_only=True)
class StepSearch:
    """The reply that a scorer likes best of those that a search over steps finds.

    ``beams`` beginnings are kept, each goes on in ``branches`` ways, step by step, and of all these the best are kept
    again; what has ended competes with what goes on, and candidates that are the same count once. With ``trees``, which
    divide the beams, candidates compete only with those of their tree (DVTS, with one beam a tree). A first step has as
    many candidates as later ones, beams x branches. A step ends with a token that holds the ``separator``, or after
    ``step_tokens``. One beam with one branch is a plain sample, at ``temperature`` 0 the greedy reply.
    """

    scorer: str  # a reward model's stage, or a verifier, of the exam's scorers
    beams: Count
    branches: Count = 4
    trees: Count = 1
    separator: str = "\n"
    step_tokens: Size = 128
    temperature: NonNegative = 1.0
    aggregate: Aggregation = last

    @property
    def name(self) -> str:
        word = "step_beam" if self.trees == 1 else f"dvts_{self.trees}"
        by = getattr(self.aggregate, "__name__", type(self.aggregate).__name__).lower()
        return f"{word}_{self.scorer}_{by}@{self.beams * self.branches}"

    def check(self, exam: Exam) -> None:
        """Raises InputError where the trees don't divide the beams, and for a separator that every token holds."""
        if self.beams % self.trees:
            raise InputError(
                f"StepSearch keeps {self.beams} beams in {self.trees} trees; each tree keeps as many, so make beams a "
                "multiple of trees"
            )
        if not self.separator:
            raise InputError("StepSearch has no separator, so nothing ends a step; name the text that does")

    def cost(self, exam: Exam) -> int:
        return self.beams * self.branches

    def scorers_asked(self) -> tuple[str, ...]:
        """See ``methods.AskingScorers``."""
        return (self.scorer,)

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``Method``. Raises InputError where the scorer isn't there, and where the last step may have no room."""
        scorer = candidate.scorers.get(self.scorer)
        if scorer is None:
            raise InputError(f"there is no scorer {self.scorer} to search by; name it in the exam's scorers")
        prompts = questions.prompts
        writer, judge = (
            _Writer.of(self, candidate, questions),
            _Judge(scorer, self.aggregate, prompts, Cost.nothing(len(prompts))),
        )
        each = self.beams // self.trees
        forest = [
            _Tree(problem, first, each, self.branches)
            for problem in range(len(prompts))
            for first in range(0, self.beams, each)
        ]
        spent_P, turn = np.zeros(len(prompts), np.int64), 0
        while growing := [tree for tree in forest if not tree.over]:
            found = writer.go_on(growing, jax.random.fold_in(key, turn) if turn else key)
            judge.rate(growing, found)
            for tree, candidates in zip(growing, found, strict=True):
                spent_P[tree.problem] += sum(each.drawn for each in candidates)
                tree.keep_best_of(candidates)
            turn += 1
        best = [max(group, key=lambda each: each.worth) for group in _by_problem(forest, len(prompts))]
        return _answers(candidate, questions, best, spent_P, {self.scorer: judge.told(best)})


@dataclass(frozen=True)
class _Beginning:
    """A reply so far: its tokens, summed log-probability, the scores of its steps and what they make it worth.

    ``drawn`` of its tokens are its last step's; ``over``: it has ended, or (``cut``) has no room left.
    """

    tokens: tuple[int, ...] = ()
    log_prob: float = 0.0
    scores: tuple[float, ...] = ()
    worth: float = 0.0
    drawn: int = 0
    over: bool = False
    cut: bool = False


@dataclass
class _Tree:
    """What one tree of a problem keeps, at most ``beams``, each of which goes on in ``branches`` ways."""

    problem: int
    first: int  # the number of its first beam among the problem's
    beams: int
    branches: int
    kept: list[_Beginning] = field(default_factory=lambda: [_Beginning()])

    @property
    def over(self) -> bool:
        return all(each.over for each in self.kept)

    @property
    def ways(self) -> int:
        """In how many ways each of the kept goes on; the first one alone in as many as all later ones together."""
        return self.branches if self.kept[0].tokens else self.beams * self.branches

    def keep_best_of(self, candidates: Iterable[_Beginning]) -> None:
        """Keeps the best of what had ended and of the candidates, each once; of equals what came first."""
        every = [*(each for each in self.kept if each.over), *candidates]
        different = {each.tokens: each for each in reversed(every)}
        ordered = [each for each in every if different[each.tokens] is each]
        self.kept = sorted(ordered, key=lambda each: -each.worth)[: self.beams]


def _by_problem(forest: Sequence[_Tree], problems: int) -> Iterator[list[_Beginning]]:
    """What all trees of each problem have kept."""
    for problem in range(problems):
        yield [each for tree in forest if tree.problem == problem for each in tree.kept]


@dataclass(frozen=True)
class _Judge:
    """Asks a scorer about new steps, of all problems at once, and keeps count of what it reads [P]."""

    scorer: Scorer
    aggregate: Aggregation
    prompts: Sequence[Sequence[int]]
    read: Cost

    def rate(self, growing: Sequence[_Tree], found: list[list[_Beginning]]) -> None:
        """Gives each candidate its newest step's score, and what all of its scores make it worth."""
        problems = [tree.problem for tree, candidates in zip(growing, found, strict=True) for _ in candidates]
        every = [each for candidates in found for each in candidates]
        asked = (
            [self.prompts[problem] for problem in problems],
            [each.tokens for each in every],
            [[len(each.tokens) - 1] for each in every],
        )
        scores = self.scorer.scores(*asked)
        steps = [(*each.scores, float(new[-1])) for each, new in zip(every, scores, strict=True)]
        worths = aggregated(self.aggregate, [np.array(each) for each in steps]).tolist()
        cost = self.scorer.cost(*asked)
        np.add.at(self.read.tokens_R, problems, cost.tokens_R)
        np.add.at(self.read.flops_R, problems, cost.flops_R)
        rated = [
            replace(each, scores=step, worth=worth) for each, step, worth in zip(every, steps, worths, strict=True)
        ]
        for candidates in reversed(found):
            start = len(rated) - len(candidates)
            candidates[:], rated[start:] = rated[start:], ()

    def told(self, best: Sequence[_Beginning]) -> StepScores:
        """The scores of the replies that are given, with all that was read to find them."""
        steps = [[np.array(each.scores)] for each in best]
        return StepScores(steps, self.read.tokens_R[:, None], self.read.flops_R[:, None])


@dataclass(frozen=True)
class _Writer:
    """Lets the model go on with beginnings, all of a turn in one call of the engine.

    ``times`` are the lengths that prompts with beginnings are padded to: each is a program.
    """

    search: StepSearch
    candidate: Candidate
    prompts: Sequence[Sequence[int]]
    step: int
    stops: frozenset[int]
    step_ends: tuple[int, ...]
    times: tuple[int, ...]

    @staticmethod
    def of(search: StepSearch, candidate: Candidate, questions: Questions) -> "_Writer":
        """Raises InputError where the last step may have no room in the model's context, or no token ends a step."""
        exam, longest, context = candidate.exam, longest_of(questions), candidate.model.config.context
        limit, stops = exam.max_new_tokens, stop_ids(candidate.tokenizer, exam.chat)
        step = min(search.step_tokens, limit)
        if longest + limit - 1 + step > context:
            raise InputError(
                f"StepSearch reads a prompt of {longest} tokens with a reply of up to {limit - 1} and leaves {step} "
                f"for its last step, more than the model's context of {context}; lower step_tokens or max_new_tokens"
            )
        ends = ids_with(candidate.tokenizer, (search.separator,))
        if not ends:
            raise InputError(f"no token holds {search.separator!r}, the separator of StepSearch; name another")
        times = tuple(dict.fromkeys((longest, longest + limit // _SHORT, longest + limit - 1)))
        return _Writer(search, candidate, questions.prompts, step, frozenset(stops), (*stops, *ends), times)

    def go_on(self, growing: Sequence[_Tree], key: jax.Array) -> list[list[_Beginning]]:
        """The candidates of each tree: every one of its beginnings that haven't ended, with a step more."""
        going = [
            (number, tree.problem * self.search.beams + place, each)
            for number, tree in enumerate(growing)
            for place, each in enumerate(tree.kept, start=tree.first)
            if not each.over
        ]
        prompts = [(*self.prompts[growing[number].problem], *each.tokens) for number, _, each in going]
        rollouts = self._written(prompts, [name for _, name, _ in going], growing[0].ways, key)
        found: list[list[_Beginning]] = [[] for _ in growing]
        for row, (number, _, beginning) in enumerate(going):
            found[number] += [self._longer(beginning, rollouts, row, way) for way in range(growing[0].ways)]
        return found

    def _written(self, prompts: Sequence[Sequence[int]], ids: Sequence[int], ways: int, key: jax.Array) -> Rollouts:
        """What the engine writes behind each of the prompts, on every process; each process writes its share."""
        exam, candidate = self.candidate.exam, self.candidate
        most = -(-len(self.prompts) * self.search.beams // jax.process_count())
        share = -(-len(prompts) // jax.process_count())
        longest = max(map(len, prompts))
        settings = SamplerSettings(
            ways,
            self.step,
            self.step_ends,
            exam.slots or min(_SLOTS, len(self.prompts) * self.search.cost(exam)),
            next(time for time in self.times if time >= longest),
        )
        engine = build_engine(candidate.model, candidate.mesh, settings)
        generate = truncating(engine.generate, truncation_of(exam))
        own = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
        written = generate(candidate.weights, prompts[own], ids[own], key, self.search.temperature, rows=most)

        def of_all(name: str) -> np.ndarray:
            rows = getattr(written, name)
            filled = np.pad(rows, [(0, share - len(rows))] + [(0, 0)] * (rows.ndim - 1))
            return meshes.rows_of_all_processes(filled)[: len(prompts)]

        return Rollouts(*map(of_all, Rollouts.names()))

    def _longer(self, beginning: _Beginning, rollouts: Rollouts, row: int, way: int) -> _Beginning:
        """A beginning with one of the steps that were written behind it, as far as there is room."""
        room = self.candidate.exam.max_new_tokens - len(beginning.tokens)
        length = min(int(rollouts.lengths[row, way]), room)
        step = rollouts.tokens[row, way, :length].tolist()
        ended = step[-1] in self.stops
        return _Beginning(
            tokens=(*beginning.tokens, *step),
            log_prob=beginning.log_prob + float(rollouts.log_probs[row, way, :length].sum(dtype=np.float64)),
            scores=beginning.scores,
            drawn=int(rollouts.lengths[row, way]),
            over=ended or length == room,
            cut=not ended,
        )


def _answers(
    candidate: Candidate,
    questions: Questions,
    best: Sequence[_Beginning],
    spent_P: np.ndarray,
    judged: dict[str, StepScores],
) -> Answers:
    """The replies as the exam grades those that it samples, with all that was decoded to find them."""
    tokens_P1N = np.zeros((len(best), 1, candidate.exam.max_new_tokens), np.int32)
    for row, each in enumerate(best):
        tokens_P1N[row, 0, : len(each.tokens)] = each.tokens
    lengths_P1 = np.array([[len(each.tokens)] for each in best])
    cut_P1 = np.array([[each.cut] for each in best])
    rollouts = Rollouts(tokens_P1N, np.zeros(tokens_P1N.shape, np.float32), lengths_P1, cut_P1)
    answers = graded(candidate, questions, rollouts)
    log_probs_P1 = np.array([[each.log_prob] for each in best])
    return replace(answers, log_probs=log_probs_P1, spent=spent_P, judged=judged)
