"""Calling reward functions, which users write: each gets TRL's batched form, and what it returns is checked.

Shapes: P problems, S samples a problem.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.signatures import function_words, needed, signature_of, takes_any_name
from reasoning.core.user_code import answering_for, concerned, is_ours
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Reward, Selective, reward_name
from reasoning.tasks.problems import REWARDS_GET, Problem, ProblemSet


def check_names(rewards: Sequence[Reward], where: str) -> None:
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


def rate(
    rewards: Sequence[Reward],
    problems: Sequence[Problem],
    texts: list[list[str]],
    truncated_PS: np.ndarray,
    lengths_PS: np.ndarray,
    chat: ChatFormat,
) -> dict[str, np.ndarray]:
    """Each reward's values [P, S], by its name, NaN where it gave None; every reward gets the problems' columns.

    Raises InputError, naming the function, where it raises something itself, and where it doesn't give one finite
    number (or None) a completion.
    """
    samples = truncated_PS.shape[1]
    repeated = [problem for problem in problems for _ in range(samples)]
    names = dict.fromkeys(name for problem in problems for name in problem.columns)
    prompts = [chat.ask(problem.question) for problem in repeated]  # completions hold the opening
    completions = [text for group in texts for text in group]

    def values(reward: Reward) -> np.ndarray:
        # Made anew, so that a function which changes what it gets can't spoil it for the next one.
        given = {
            "prompts": list(prompts),
            "completions": list(completions),
            "chat": chat,
            "answer": [problem.answer for problem in repeated],
            "kind": [problem.kind for problem in repeated],
            "truncated": truncated_PS.reshape(-1).tolist(),
            "lengths": lengths_PS.reshape(-1).tolist(),
            **{name: [deepcopy(problem.columns.get(name)) for problem in repeated] for name in names},
        }
        return _checked(reward, _listed(reward, given, completions), completions).reshape(-1, samples)

    return {reward_name(reward): values(reward) for reward in rewards}


def _listed(reward: Reward, given: Mapping[str, Any], completions: Sequence[str]) -> list[Any]:
    """What a reward returns for what it is given. Raises InputError as ``rate`` does."""
    where = _words(reward)
    with answering_for("" if is_ours(reward) else where, lambda error: _about(concerned(error, completions))):
        returned = reward(**given)
        if isinstance(returned, Iterable):  # also one whose values are made as they are asked for
            return list(returned)
    raise InputError(f"{where} returned {returned!r:.60}; it must return a list, one number a completion")


def _about(completion: str | None) -> str:
    return "" if completion is None else f" for the completion {completion!r:.60}"


def _words(reward: Reward) -> str:
    return f"the reward function {function_words(reward)}"


def _checked(reward: Reward, listed: list[Any], completions: Sequence[str]) -> np.ndarray:
    """What a reward gave, as float64 with NaN for None. Raises InputError as ``rate`` does."""
    where = _words(reward)
    if len(listed) != len(completions):
        raise InputError(
            f"{where} returned {len(listed)} values for {len(completions)} completions; it must return one number a "
            "completion, in their order"
        )
    for value, completion in zip(listed, completions, strict=True):
        if value is not None and not _is_finite(value):
            raise InputError(
                f"{where} returned {value!r:.60} for the completion {completion!r:.60}; it must return a finite "
                "number, or None where it doesn't apply"
            )
    return np.array([np.nan if value is None else float(value) for value in listed], np.float64)


def _is_finite(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False
