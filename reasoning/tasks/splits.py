"""Which questions may be trained on; decided by the question's own text, so no seed or setting can mix the two."""

from hashlib import blake2b
from typing import Literal

from reasoning.core.words import words_of

Split = Literal["train", "test"]

_TEST_ONE_IN = 10


def split_of(question: str) -> Split:
    """The one split that ``question`` belongs to, so that train and test are disjoint by construction.

    A tenth of all questions is test. The hash (BLAKE2b) sees nothing but ``words_of`` the question: neither the task,
    nor its settings, so two tasks that ask the same thing agree about it.
    """
    words = words_of(question)
    # A lone surrogate can't be written as UTF-8, but it still has to get a split.
    digest = blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") % _TEST_ONE_IN == 0 else "train"
