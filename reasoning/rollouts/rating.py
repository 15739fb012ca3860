"""Calling reward functions, which users write: each gets TRL's batched form, and what it returns is checked.

Shapes: P problems, S samples a problem.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.mesh import largest_of_all_processes, rows_of_all_processes
from reasoning.core.signatures import function_words, needed, signature_of, takes_any_name
from reasoning.core.user_code import answering_for, concerned, is_ours
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Explaining, Judgement, Remarking, Reward, Selective, Ungraded, reward_name
from reasoning.tasks.problems import REWARDS_GET, Problem, ProblemSet

_TRIED = 256
"""Completions with which a reward that raised is called again, one by one."""


@dataclass(frozen=True)
class Ratings:
    """What rewards gave to completions [P, S], by name: numbers, NaN for None and for what was not graded.

    ``ungraded`` tells these two apart. ``judgements`` are of rewards that explain (``rewards.reward.Judgement``).
    """

    values: dict[str, np.ndarray]
    ungraded: dict[str, np.ndarray] = field(default_factory=dict)
    judgements: dict[str, np.ndarray] = field(default_factory=dict)


def check_names(rewards: Sequence[Callable[..., Any]], where: str) -> None:
    """Raises InputError for two rewards of one name, whose values could not be told apart."""
    names = [reward_name(reward) for reward in rewards]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{where} has two functions named {', '.join(repeated)}; drop one of them, or rename it")


def check_problems(rewards: Sequence[Reward], problems: Sequence[Problem]) -> None:
    """Raises InputError for a problem that one of ``rewards`` can't judge (``rewards.reward.Selective``)."""
    for reward in rewards:
        if isinstance(reward, Selective):
            reward.check(problems)


def check_judged(rewards: Sequence[Reward], problems: ProblemSet) -> None:
    """As ``check_problems`` and ``ProblemSet.leaks``, before a run begins.

    Problems are drawn only where a reward wants to see them.
    """
    problems.leaks()
    if any(isinstance(reward, Selective) for reward in rewards):
        check_problems(rewards, problems.problems())


def check_columns(rewards: Sequence[Reward], problems: ProblemSet) -> None:
    """Raises InputError for a reward with a parameter that is no column of the problems, or without one for theirs.

    Problems are drawn only where a reward names a column, or takes no others.
    """
    signatures = [(reward, signature) for reward in rewards if (signature := signature_of(reward)) is not None]
    choosy = [each for each in signatures if {*needed(each[1])} - {*REWARDS_GET} or not takes_any_name(each[1])]
    if not choosy:
        return
    columns = dict.fromkeys(name for problem in problems.problems() for name in problem.columns)
    told = f"the columns {', '.join(columns)}" if columns else "no columns"
    for reward, signature in choosy:
        lacking = [name for name in needed(signature) if name not in (*REWARDS_GET, *columns)]
        if lacking:
            raise InputError(
                f"{_words(reward)} needs {', '.join(lacking)}, and the problems have {told}; give the parameter a "
                "default, or the problems that column"
            )
        further = [name for name in columns if name not in signature.parameters]
        if further and not takes_any_name(signature):
            raise InputError(f"{_words(reward)} has no parameter **columns, and the problems have {told}; add it")


def remarks_on(rewards: Sequence[Reward], problems: ProblemSet) -> tuple[str, ...]:
    """What rewards have to say of the problems before a run begins (``rewards.reward.Remarking``)."""
    remarking = [reward for reward in rewards if isinstance(reward, Remarking)]
    if not remarking:
        return ()
    asked = problems.problems()
    return tuple(remark for reward in remarking for remark in reward.remarks(asked))


def rate(
    rewards: Sequence[Reward],
    problems: Sequence[Problem],
    texts: list[list[str]],
    truncated_PS: np.ndarray,
    lengths_PS: np.ndarray,
    chat: ChatFormat,
    marks: Sequence[Mapping[str, np.ndarray]] = (),
) -> Ratings:
    """Each reward's values [P, S], by its name; every reward gets the problems' columns.

    ``marks`` are the scores of each completion's steps by scorer, where scorers have read them.

    Raises InputError, naming the function, where it raises something itself, and where it doesn't give one finite
    number (or None, or ``UNGRADED``) a completion.
    """
    samples = truncated_PS.shape[1]
    repeated = [problem for problem in problems for _ in range(samples)]
    names = dict.fromkeys(name for problem in problems for name in problem.columns)
    prompts = [chat.ask(problem.question) for problem in repeated]  # completions hold the opening
    completions = [text for group in texts for text in group]

    def columns() -> dict[str, Any]:
        # Made anew, so that a function which changes what it gets can't spoil it for the next one.
        return {
            "prompts": list(prompts),
            "completions": list(completions),
            "chat": chat,
            "answer": [problem.answer for problem in repeated],
            "kind": [problem.kind for problem in repeated],
            "truncated": truncated_PS.reshape(-1).tolist(),
            "lengths": lengths_PS.reshape(-1).tolist(),
            **{name: [deepcopy(problem.columns.get(name)) for problem in repeated] for name in names},
            **({"marks": [dict(each) for each in marks]} if marks else {}),
        }

    ratings = Ratings({})
    for reward in rewards:
        name, explains = reward_name(reward), isinstance(reward, Explaining)
        given = _given(reward, columns(), completions)
        values = [each.value for each in given] if explains else given
        numbers, ungraded = _checked(reward, values, completions)
        ratings.values[name] = numbers.reshape(-1, samples)
        ratings.ungraded[name] = ungraded.reshape(-1, samples)
        if explains:
            ratings.judgements[name] = _objects(given).reshape(-1, samples)
    return ratings


def _given(reward: Reward, columns: Mapping[str, Any], completions: Sequence[str]) -> list[Any]:
    """What a reward gives: values, or judgements of one that explains. Raises InputError as ``rate`` does."""
    where = _words(reward)

    def about(error: BaseException) -> str:
        told = concerned(error, completions)
        told = _raising_alone(reward, columns, completions, error) if told is None else told
        return "" if told is None else f" for the completion {told!r:.60}"

    with answering_for("" if is_ours(reward) else where, about):
        returned = _returned(reward, columns)
    if isinstance(returned, list):
        return returned
    raise InputError(f"{where} returned {returned!r:.60}; it must return a list, one number a completion")


def _returned(reward: Reward, columns: Mapping[str, Any]) -> Any:
    """What a reward returns, as a list also where its values are made as they are asked for."""
    returned = reward.judge(**columns) if isinstance(reward, Explaining) else reward(**columns)
    return list(returned) if isinstance(returned, Iterable) else returned


def _raising_alone(
    reward: Reward, columns: Mapping[str, Any], completions: Sequence[str], error: BaseException
) -> str | None:
    """The first completion for which a reward that raised raises the same again, among the first few.

    From Python 3.12 on, a list comprehension that failed leaves no variable that would tell.
    """
    for row, completion in enumerate(completions[:_TRIED]):
        own = {name: value[row : row + 1] if isinstance(value, list) else value for name, value in columns.items()}
        try:
            _returned(reward, own)
        except (Exception, SystemExit) as again:
            if type(again) is type(error):
                return completion
    return None


def _words(reward: Reward) -> str:
    return f"the reward function {function_words(reward)}"


def judgements_of_all_processes(judgements_PS: np.ndarray) -> np.ndarray:
    """All processes' judgements, in process order, on each of them; their values, which are gathered as numbers, go."""
    if jax.process_count() == 1:
        return judgements_PS
    told = [
        json.dumps([each.verdict, each.failing, each.detail, each.wall_kills]).encode()
        for each in judgements_PS.reshape(-1)
    ]
    width = largest_of_all_processes(max(map(len, told), default=0))
    bytes_BW = np.array([list(text.ljust(width)) for text in told], np.uint8).reshape(len(told), width)
    rows = [Judgement(None, *json.loads(row.tobytes())) for row in rows_of_all_processes(bytes_BW)]
    return _objects(rows).reshape(-1, judgements_PS.shape[1])


def _objects(values: Sequence[Any]) -> np.ndarray:
    """An array [B] of any things, one by one."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _checked(reward: Reward, listed: list[Any], completions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What a reward gave, as float64 with NaN for no number, and which were not graded.

    Raises InputError as ``rate`` does.
    """
    where = _words(reward)
    if len(listed) != len(completions):
        raise InputError(
            f"{where} returned {len(listed)} values for {len(completions)} completions; it must return one number a "
            "completion, in their order"
        )
    for value, completion in zip(listed, completions, strict=True):
        if not (value is None or isinstance(value, Ungraded) or _is_finite(value)):
            raise InputError(
                f"{where} returned {value!r:.60} for the completion {completion!r:.60}; it must return a finite "
                "number, or None where it doesn't apply"
            )
    ungraded = np.array([isinstance(value, Ungraded) for value in listed], bool)
    empty = [value is None or isinstance(value, Ungraded) for value in listed]
    numbers = [np.nan if none else float(value) for value, none in zip(listed, empty, strict=True)]
    return np.array(numbers, np.float64), ungraded


def _is_finite(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
