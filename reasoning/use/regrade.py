"""Stored replies graded anew, without sampling or changing the run: by other rewards, or by mended tests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.evaluation.results import SAMPLES, read_samples
from reasoning.experiment.reader import Experiment
from reasoning.experiment.references import find_object, importable
from reasoning.experiment.types import Mismatch, coerce
from reasoning.pipeline.folder import present_folder, read_run
from reasoning.rewards.reward import Judgement, Remarking, Reward, reward_name
from reasoning.rollouts.rating import Ratings, check_names, check_problems, rate
from reasoning.rollouts.sampling import Sampling
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.training.metrics import rollout_files
from reasoning.use.stage_results import read_rollouts, spans

_Key = tuple[str, str]
"""A problem's question and kind, by which it is found again."""


@dataclass(frozen=True)
class _Stored:
    """A reply as it was kept; ``values`` by the names of the rewards that it was given for, without those that it
    had none of."""

    question: str
    kind: str
    text: str
    length: int
    truncated: bool
    values: Mapping[str, float]


@dataclass(frozen=True)
class Flip:
    """A reply that has another ``value`` than before; ``judgement`` says why."""

    question: str
    text: str
    before: float
    value: float
    judgement: Judgement


@dataclass
class Change:
    """What became of the replies of one ``source`` (steps, or a checkpoint by a method) by one reward.

    ``before`` are the values that the run had by a reward of that name, ``after`` the new ones; ``count`` leaves out
    replies to which the reward doesn't apply. Flips are in their order.
    """

    source: str
    reward: str
    count: int = 0
    ungraded: int = 0
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)

    def up(self) -> int:
        """How many replies are worth more than before."""
        return sum(flip.value > flip.before for flip in self.flips)

    def down(self) -> int:
        """How many replies are worth less than before."""
        return len(self.flips) - self.up()


def stored_stages(run: Path) -> dict[str, Path]:
    """The stages of a run that kept replies, finished or at work, with their folders. InputError: a damaged run."""
    folders = {entry.stage: present_folder(run, entry) for entry in read_run(run)}
    return {name: path for name, path in folders.items() if rollout_files(path) or (path / SAMPLES).exists()}


def named_rewards(names: Sequence[str], experiment: Experiment) -> tuple[Reward, ...]:
    """Rewards by name: parts of the experiment, or what ``@name`` finds in experiment files, records as they come.

    Raises InputError for a name that leads to no reward, a record that needs settings, and two rewards of one name.
    """
    with importable(Path.cwd(), experiment.path.parent):
        rewards = tuple(_reward(name, experiment) for name in names)
    check_names(rewards, "--rewards")
    return rewards


def regrade(
    stage: str, folder: Path, experiment: Experiment, rewards: Sequence[Reward]
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """What each reward gives to the replies in a stage's folder, by source; and what rewards say of the problems.

    Problems are found again by their questions in the experiment's problem sets, those of the stage first. Each step's
    replies, or each checkpoint's by a method, are graded in one call. Raises InputError where there are no replies, a
    file is damaged, a question is in no problem set, or a reward can't judge a problem.
    """
    asked = _asked(stage, experiment)
    batches = list(_batches(stage, folder, asked.max_new_tokens))
    wanted = dict.fromkeys((each.question, each.kind) for _, replies in batches for each in replies)
    if not wanted:
        raise InputError(f"stage {stage} kept no replies, so there is nothing to grade")
    problems = _found(wanted, stage, asked, experiment)
    check_problems(rewards, tuple(problems.values()))
    remarks = [each for one in rewards if isinstance(one, Remarking) for each in one.remarks((*problems.values(),))]
    changes: dict[tuple[str, str], Change] = {}
    for source, replies in batches:
        rated = rate(
            rewards,
            [problems[each.question, each.kind] for each in replies],
            [[each.text] for each in replies],
            np.array([[each.truncated] for each in replies]),
            np.array([[each.length] for each in replies]),
            asked.chat,
        )
        for name in map(reward_name, rewards):
            change = changes.setdefault((name, source), Change(source, name))
            for reply, judgement in zip(replies, _judgements(rated, name), strict=True):
                _count(change, reply, judgement)
    order = [reward_name(reward) for reward in rewards]
    return tuple(changes[key] for key in sorted(changes, key=lambda key: order.index(key[0]))), tuple(remarks)


def _reward(name: str, experiment: Experiment) -> Reward:
    value = _named(name, experiment)
    if isinstance(value, type) and is_dataclass(value) and any("__call__" in vars(base) for base in value.__mro__):
        needed = [each.name for each in fields(value) if each.init and each.default is each.default_factory is MISSING]
        if needed:
            raise InputError(
                f"--rewards {name}: it needs {', '.join(needed)}; define a part with them in an experiment file, and "
                "name that part and the file (--experiment FILE.gin)"
            )
        value = value()
    try:
        return coerce(value, Reward)
    except Mismatch as error:
        raise InputError(f"--rewards {name}{error}") from None


def _named(name: str, experiment: Experiment) -> object:
    if "." in name or name.startswith("@"):
        return find_object(name.removeprefix("@"))
    try:
        return experiment.part(name)
    except InputError as error:
        raise InputError(
            f"{error}; what isn't a part of it is named with its module, as in rewards.accuracy.lenient"
        ) from None


def _asked(stage: str, experiment: Experiment) -> Sampling:
    """How a stage asks: itself, or the exam that it holds."""
    part = experiment.part(stage)
    for each in (part, *(getattr(part, one.name) for one in fields(part))):
        if isinstance(each, Sampling):
            return each
    raise InputError(
        f"{experiment.source(stage)}: the settings of {stage} don't say how it asks its problems; those of GRPO, "
        "Collect and Evaluate do"
    )


def _batches(stage: str, folder: Path, limit: int) -> Iterator[tuple[str, list[_Stored]]]:
    """Replies that were graded together, with the name of their source."""
    steps = tuple(rollout_files(folder))
    for step in steps:
        yield f"{stage}, steps {spans(steps)}", [_of_rollout(row) for row in _rows(folder, stage, step)]
    if not steps and (folder / SAMPLES).exists():
        yield from _of_samples(folder / SAMPLES, limit)


def _rows(folder: Path, stage: str, step: int) -> list[dict[str, Any]]:
    table = read_rollouts(folder, stage, step)
    lacking = {"prompt", "kind", "completion", "length", "truncated"} - set(table.column_names)
    if lacking:
        raise InputError(f"the rollouts of stage {stage}, step {step}, have no column {', '.join(sorted(lacking))}")
    return table.to_pylist()


def _of_rollout(row: Mapping[str, Any]) -> _Stored:
    prefix = "rewards/"
    values = {
        name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix) and value is not None
    }
    return _Stored(row["prompt"], row["kind"], row["completion"], row["length"], row["truncated"], values)


def _of_samples(file: Path, limit: int) -> Iterator[tuple[str, list[_Stored]]]:
    """Replies by checkpoint, style and method. A reply without an answer that is as long as the limit was cut off."""
    sources: dict[str, list[_Stored]] = {}
    for row in read_samples(file):
        source = ", ".join(filter(None, (row.checkpoint, row.style, row.method)))
        for place, text in enumerate(row.texts):
            values = {name: value for name, each in row.scores.items() if (value := each[place]) is not None}
            cut = row.lengths[place] >= limit and row.answers[place] is None
            stored = _Stored(row.question, row.kind, text, row.lengths[place], cut, values)
            sources.setdefault(source, []).append(stored)
    yield from sources.items()


def _found(wanted: Mapping[_Key, None], stage: str, asked: Sampling, experiment: Experiment) -> dict[_Key, Problem]:
    """The problems of the questions, from the stage's own set, else from the experiment's others."""
    others = [part for part in experiment.parts.values() if isinstance(part, ProblemSet) and part != asked.problems]
    found: dict[_Key, Problem] = {}
    broken = ""
    for problem_set in (asked.problems, *others):
        if len(found) == len(wanted):
            break
        try:
            for problem in problem_set.problems():
                if (key := (problem.question, problem.kind)) in wanted:
                    found.setdefault(key, problem)
        except InputError as error:
            broken = broken or f" (a set can't be drawn: {error})"
    if len(found) < len(wanted):
        first = next(key for key in wanted if key not in found)
        raise InputError(
            f"stage {stage}: {len(wanted) - len(found)} of its {len(wanted)} questions, the first of them "
            f"{first[0]!r:.60} ({first[1]}), are in no problem set of {experiment.path}{broken}; name the experiment "
            "file that has them, --experiment FILE.gin"
        )
    return found


def _judgements(rated: Ratings, name: str) -> list[Judgement | None]:
    """What a reward gave to each reply, the value NaN where it was not graded; None where it doesn't apply."""
    values, ungraded = rated.values[name][:, 0], rated.ungraded[name][:, 0]
    reasons = rated.judgements[name][:, 0] if name in rated.judgements else [Judgement(None)] * len(values)
    return [
        None if np.isnan(value) and not lost else Judgement(float(value), why.verdict, why.failing, why.detail)
        for value, lost, why in zip(values, ungraded, reasons, strict=True)
    ]


def _count(change: Change, reply: _Stored, judgement: Judgement | None) -> None:
    before = reply.values.get(change.reward)
    change.before += [] if before is None else [before]
    if judgement is None:
        return
    change.count += 1
    value = judgement.value
    if not isinstance(value, float) or np.isnan(value):
        change.ungraded += 1
        return
    change.after.append(value)
    if before is not None and before != value:
        change.flips.append(Flip(reply.question, reply.text, before, value, judgement))
