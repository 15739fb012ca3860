"""Rewards for questions of knowledge, whose answer has several names: the right one and those in column ``aliases``.

Names are compared by ``tasks.answers.phrase_value``: whatever their case, without punctuation and articles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import concluded, read_answer, score_each
from reasoning.tasks.answers import phrase_value, phrase_words
from reasoning.tasks.problems import Problem

_COLUMN = "aliases"

_Names = Sequence[Sequence[str] | None]


def _named(answer: Texts, aliases: _Names | None) -> list[tuple[str, ...]]:
    """The names of each answer."""
    others = [None] * len(answer) if aliases is None else aliases
    return [(name, *(more or ())) for name, more in zip(answer, others, strict=True)]


def _check_aliases(problems: Sequence[Problem], reward: str) -> None:
    """Raises InputError, naming the problem, where its column holds something else than texts."""
    for problem in problems:
        aliases = problem.columns.get(_COLUMN)
        listed = aliases is None or isinstance(aliases, list | tuple)
        if not listed or any(not isinstance(name, str) or not name.strip() for name in aliases or ()):
            raise InputError(
                f"the reward {reward} can't judge the problem {problem.question!r:.60} ({problem.kind}): its column "
                f"{_COLUMN!r} is {aliases!r:.60}; it must be a list of texts, none of them empty"
            )


@dataclass(frozen=True)
class _AnyAlias:
    """1.0 for a reply that gives the answer or one of its aliases and no more (exact match of arXiv 1606.05250).

    What it gives is what ``rewards.text.read_answer`` finds: the answer block, or the reply's last line. A reply that
    the length limit cut off is never right.
    """

    @property
    def __name__(self) -> str:
        return "alias"

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        aliases: _Names | None = None,
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""
        return score_each(_gives, completions, truncated, chat, _named(answer, aliases))

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError for a column of aliases that holds something else (``rewards.reward.Selective``)."""
        _check_aliases(problems, self.__name__)

    def read(self, completion: str, answer: str, chat: ChatFormat) -> str | None:
        """The reply's answer as names are compared (``rewards.reward.Reading``); aliases are votes of their own."""
        given = read_answer(completion, answer, chat)
        return None if given is None else str(phrase_value(given))


def _gives(completion: str, chat: ChatFormat, names: Sequence[str]) -> bool:
    given = ((read_answer(completion, name, chat), name) for name in names)
    return any(read is not None and phrase_value(read) == phrase_value(name) for read, name in given)


@dataclass(frozen=True)
class _Mentions:
    """1.0 for a reply whose answer holds the right one or an alias among other words, else 0.0.

    A generous measure for models that reply in sentences (as PopQA's, arXiv 2212.10511). A reply that lists many names
    passes, so it is for exams; as a reward it would be fooled. A reply that was cut off may have said it before.
    """

    @property
    def __name__(self) -> str:
        return "mentions"

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        aliases: _Names | None = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""
        return score_each(_holds, completions, None, chat, _named(answer, aliases))

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError for a column of aliases that holds something else (``rewards.reward.Selective``)."""
        _check_aliases(problems, self.__name__)


def _holds(completion: str, chat: ChatFormat, names: Sequence[str]) -> bool:
    text = _spaced(concluded(completion, chat))
    return any(_spaced(name).strip() and _spaced(name) in text for name in names)


def _spaced(text: str) -> str:
    return f" {' '.join(phrase_words(text))} "


alias = _AnyAlias()
mentions = _Mentions()
