"""Search over the steps of a reply under a scorer: step beam, and trees that are kept apart (DVTS).

Beeching et al. 2024, "Scaling test-time compute with open models"; Snell et al., arXiv 2408.03314, section 5.

Shapes: P problems, N new tokens.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import Count, NonNegative, Size
from reasoning.data.tokenizers.tokenizer import ids_with, stop_ids
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, graded, longest_of
from reasoning.evaluation.scorers import Aggregation, Cost, Scorer, StepScores, aggregated, last
from reasoning.evaluation.sitting import Sitting
from reasoning.generation.engine import Rollouts
from reasoning.generation.growing import NEW, Growing, Turn, build_growing
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.truncation import ALL_TOKENS
from reasoning.rollouts.sampling import truncation_of

_STREAMS = 1_000_003
"""How far apart the identities of a problem's streams in two turns are."""


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
        """See ``rewards.reward.scorers_of``."""
        return (self.scorer,)

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        """See ``sitting.Foreseen``; as if each step took all tokens that it may, and no reply ended early."""
        exam = sitting.exam
        step = min(self.step_tokens, exam.max_new_tokens)
        yield from sitting.grown(self.name, self.beams, self.branches, step, self.separator)
        turns = -(-exam.max_new_tokens // step)
        yield from sitting.judged(self.scorer, sitting.prompts * self.beams * self.branches * turns)

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``Method``. Raises InputError where the scorer isn't there, and where the last step may have no room."""
        scorer = candidate.scorers.get(self.scorer)
        if scorer is None:
            raise InputError(f"there is no scorer {self.scorer} to search by; name it in the exam's scorers")
        prompts = questions.prompts
        writer, judge = _Writer.of(self, candidate, questions), _Judge.of(scorer, self.aggregate, prompts)
        each = self.beams // self.trees
        forest = [
            [_Tree(problem, first, each) for first in range(0, self.beams, each)] for problem in range(len(prompts))
        ]
        spent_P = np.zeros(len(prompts), np.int64)
        for growing, found in writer.turns(forest, key):
            judge.rate(growing, found)
            for tree, candidates in zip(growing, found, strict=True):
                spent_P[tree.problem] += sum(each.drawn for each in candidates)
                tree.keep_best_of(candidates)
        best = [max((each for tree in trees for each in tree.kept), key=lambda each: each.worth) for trees in forest]
        return _answers(candidate, questions, best, spent_P, {self.scorer: judge.told(best)})


@dataclass(frozen=True)
class _Beginning:
    """A reply so far: its tokens, summed log-probability, the scores of its steps and what they make it worth.

    ``drawn`` tokens were drawn for its last step, behind what row ``parent`` of the pool holds; ``step`` of them are
    its own; ``over``: it has ended, or (``cut``) has no room left.
    """

    tokens: tuple[int, ...] = ()
    log_prob: float = 0.0
    scores: tuple[float, ...] = ()
    worth: float = 0.0
    drawn: int = 0
    step: int = 0
    parent: int = NEW
    over: bool = False
    cut: bool = False


@dataclass
class _Tree:
    """What one tree of a problem keeps, at most ``beams``, after so many ``turns``.

    ``first`` is the number of its first beam among the problem's.
    """

    problem: int
    first: int
    beams: int
    turns: int = 0
    kept: list[_Beginning] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kept = [_Beginning()] * self.beams

    @property
    def going(self) -> list[_Beginning]:
        """Those that haven't ended."""
        return [each for each in self.kept if not each.over]

    def keep_best_of(self, candidates: Iterable[_Beginning]) -> None:
        """Keeps the best of what had ended and of the candidates, each once; of equals what came first."""
        different: dict[tuple[int, ...], _Beginning] = {}
        for each in (*(each for each in self.kept if each.over), *candidates):
            different.setdefault(each.tokens, each)
        self.kept = sorted(different.values(), key=lambda each: -each.worth)[: self.beams]
        self.turns += 1


@dataclass(frozen=True)
class _Judge:
    """Asks a scorer about new steps, of all problems at once, and keeps count of what it reads [P]."""

    scorer: Scorer
    aggregate: Aggregation
    prompts: Sequence[Sequence[int]]
    read: Cost

    @staticmethod
    def of(scorer: Scorer, aggregate: Aggregation, prompts: Sequence[Sequence[int]]) -> "_Judge":
        """One that has read nothing yet."""
        return _Judge(scorer, aggregate, prompts, Cost.nothing(len(prompts)))

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
        rated = (
            replace(each, scores=step, worth=worth) for each, step, worth in zip(every, steps, worths, strict=True)
        )
        for candidates in found:
            candidates[:] = islice(rated, len(candidates))

    def told(self, best: Sequence[_Beginning]) -> StepScores:
        """The scores of the replies that are given, with all that was read to find them."""
        steps = [[np.array(each.scores)] for each in best]
        return StepScores(steps, self.read.tokens_R[:, None], self.read.flops_R[:, None])


_Rows = Sequence[tuple[_Tree, _Beginning]]
"""What lies in one part of the pool, row by row."""


@dataclass(frozen=True)
class _Writer:
    """Lets the model go on with beginnings, those of as many problems together as the pool holds."""

    search: StepSearch
    candidate: Candidate
    prompts: Sequence[Sequence[int]]
    stops: frozenset[int]
    growing: Growing

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
        settings = SamplerSettings(search.branches, step, (*stops, *ends), exam.slots, longest)
        growing = build_growing(candidate.model, candidate.mesh, settings, search.beams, longest + limit - 1)
        return _Writer(search, candidate, questions.prompts, frozenset(stops), growing)

    def turns(
        self, forest: Sequence[list[_Tree]], key: jax.Array
    ) -> Iterator[tuple[list[_Tree], list[list[_Beginning]]]]:
        """Trees that grow, each with its candidates, turn by turn; whoever takes them says what each tree keeps.

        Where a problem's search is over, the next problem takes its place in the pool.
        """
        rule = truncation_of(self.candidate.exam)
        waiting, places = list(reversed(forest)), self.growing.rows_of_part // self.search.beams
        parts: list[list[list[_Tree]]] = [[] for _ in range(self.growing.parts)]
        state = self.growing.start(key)
        while True:
            parts = [[trees for trees in part if any(tree.going for tree in trees)] for part in parts]
            for place in range(places):
                for part in parts:
                    if waiting and len(part) <= place:
                        part.append(waiting.pop())
            if not any(parts):
                return
            rows = [[(tree, each) for trees in part for tree in trees for each in tree.going] for part in parts]
            state, rollouts = self.growing.go_on(
                self.candidate.weights,
                state,
                self._turn(rows),
                key,
                self.search.temperature,
                None if rule == ALL_TOKENS else rule,
            )
            yield self._candidates(rows, rollouts)

    def _turn(self, rows: Sequence[_Rows]) -> Turn:
        """Where each beginning's caches are, and what follows behind them; streams are a problem's own."""
        size, count = self.growing.rows_of_part, self.growing.rows_of_part * self.growing.parts
        parents, ids = [NEW] * count, [0] * count
        behind: list[Sequence[int]] = [()] * count
        for part, pairs in enumerate(rows):
            places: Counter[int] = Counter()
            for row, (tree, each) in enumerate(pairs, start=part * size):
                number = tree.problem * self.search.beams + tree.first + places[id(tree)]
                places[id(tree)] += 1
                parents[row] = each.parent
                behind[row] = each.tokens[-each.step :] if each.tokens else self.prompts[tree.problem]
                ids[row] = (tree.turns * _STREAMS + number) % 2**31
        return Turn(parents, behind, ids)

    def _candidates(self, rows: Sequence[_Rows], rollouts: Rollouts) -> tuple[list[_Tree], list[list[_Beginning]]]:
        """Each tree that grew, once, with all ways in which its beginnings go on."""
        growing: list[_Tree] = []
        found: list[list[_Beginning]] = []
        for part, pairs in enumerate(rows):
            for row, (tree, each) in enumerate(pairs):
                if not growing or growing[-1] is not tree:
                    growing.append(tree)
                    found.append([])
                at = part * self.growing.rows_of_part + row
                found[-1] += [self._longer(each, rollouts, at, row, way) for way in range(self.search.branches)]
        return growing, found

    def _longer(self, beginning: _Beginning, rollouts: Rollouts, at: int, row: int, way: int) -> _Beginning:
        """A beginning with one of the steps that were written behind it, as far as there is room."""
        room = self.candidate.exam.max_new_tokens - len(beginning.tokens)
        drawn = int(rollouts.lengths[at, way])
        length = min(drawn, room)
        step = rollouts.tokens[at, way, :length].tolist()
        ended = step[-1] in self.stops
        return _Beginning(
            tokens=(*beginning.tokens, *step),
            log_prob=beginning.log_prob + float(rollouts.log_probs[at, way, :length].sum(dtype=np.float64)),
            scores=beginning.scores,
            drawn=drawn,
            step=length,
            parent=row,
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
