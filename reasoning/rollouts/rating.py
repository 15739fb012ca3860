"""Calling reward functions, which users write: each gets TRL's batched form, and what it returns is checked.

Shapes: P problems, S samples a problem.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Reward, Selective, reward_name
from reasoning.tasks.problems import Problem, ProblemSet


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


def rate(
    rewards: Sequence[Reward],
    problems: Sequence[Problem],
    texts: list[list[str]],
    truncated_PS: np.ndarray,
    lengths_PS: np.ndarray,
    chat: ChatFormat,
) -> dict[str, np.ndarray]:
    """Each reward's values [P, S], by its name, NaN where it gave None; every reward gets the problems' columns.

    Raises InputError, naming the function, where it doesn't give one finite number (or None) a completion.
    """
    samples = truncated_PS.shape[1]
    repeated = [problem for problem in problems for _ in range(samples)]
    names = dict.fromkeys(name for problem in problems for name in problem.columns)
    prompts = [chat.ask(problem.question) for problem in repeated]  # completions hold the opening
    completions = [text for group in texts for text in group]

    def values(reward: Reward) -> np.ndarray:
        # Made anew, so that a function which changes what it gets can't spoil it for the next one.
        given = reward(
            prompts=list(prompts),
            completions=list(completions),
            chat=chat,
            answer=[problem.answer for problem in repeated],
            kind=[problem.kind for problem in repeated],
            truncated=truncated_PS.reshape(-1).tolist(),
            lengths=lengths_PS.reshape(-1).tolist(),
            **{name: [deepcopy(problem.columns.get(name)) for problem in repeated] for name in names},
        )
        return _checked(reward, given, completions).reshape(-1, samples)

    return {reward_name(reward): values(reward) for reward in rewards}


def _checked(reward: Reward, given: Any, completions: Sequence[str]) -> np.ndarray:
    """What a reward gave, as float64 with NaN for None. Raises InputError as ``rate`` does."""
    where = f"the reward function {getattr(reward, '__module__', type(reward).__module__)}.{reward_name(reward)}"
    try:
        listed = list(given)
    except TypeError:
        raise InputError(f"{where} returned {given!r:.60}; it must return a list, one number a completion") from None
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
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False
