"""Duplicates and near ones among texts whose similarity is known exactly, from sets of tuples of words."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning.core.contents import ReadsFiles
from reasoning.data.chat.format import ChatFormat
from reasoning.data.cleaning import Opened, Removed
from reasoning.data.documents import Document, Documents, Piece
from reasoning.data.duplicates import Duplicates, NearDuplicates, jaccard
from reasoning.data.marks import MarkFiles, find_kept, written_marks
from reasoning.data.sources import TextFolder


def kept_of(documents: list[Document], *cleaners: Any, scratch: Path) -> tuple[list[bool], Removed]:
    removed = Removed()
    source = Opened(TextFolder("texts"), "texts", Documents(len(documents), documents.__getitem__))
    assert isinstance(source.source, ReadsFiles)
    (scratch / "marks").write_bytes(b"".join(written_marks(documents, [cleaner.marker() for cleaner in cleaners])))
    marks = MarkFiles([scratch / "marks"], len(documents), len(documents), len(cleaners))
    return find_kept([source], cleaners, marks, removed, lambda done: None).tolist(), removed


def plain(*texts: str) -> list[Document]:
    return [Document((Piece(text, True),)) for text in texts]


def similarity(one: list[str], other: list[str], length: int = 5) -> float:
    """Jaccard's, from its definition."""
    sets = [{tuple(words[at : at + length]) for at in range(len(words) - length + 1)} for words in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def edited(words: list[str], edits: int, chosen: random.Random) -> list[str]:
    """The words with so many of them replaced, left out, or put in twice."""
    words = list(words)
    for _ in range(edits):
        place = chosen.randrange(len(words))
        words[place : place + 1] = chosen.choice([["".join(chosen.choices("xyz", k=12))], [], [words[place]] * 2])
    return words


@pytest.fixture(scope="module")
def pairs() -> list[tuple[list[str], list[str]]]:
    chosen = random.Random(1)
    vocabulary = ["".join(chosen.choices("abcdefgh", k=5)) for _ in range(700)]
    texts = [chosen.choices(vocabulary, k=chosen.randrange(20, 250)) for _ in range(320)]
    return [(text, edited(text, chosen.randrange(1 + len(text) // 8), chosen)) for text in texts]


def test_near_duplicates_are_found_and_none_below_the_threshold_is_removed(pairs: Any, tmp_path: Path):
    # All originals come first, so each edited text meets all of them.
    texts = [" ".join(one) for one, _ in pairs] + [" ".join(other) for _, other in pairs]
    kept, _ = kept_of(plain(*texts), NearDuplicates(), scratch=tmp_path)
    exact = np.array([similarity(one, other) for one, other in pairs])
    gone = ~np.array(kept[len(pairs) :])
    assert all(kept[: len(pairs)])
    assert (exact >= 0.8).sum() > 60 and (exact < 0.5).sum() > 60
    assert gone[exact >= 0.8].mean() >= 0.95
    assert not gone[exact < 0.8].any()


@pytest.mark.parametrize("threshold", [0.5, 0.95])
def test_another_threshold_has_as_good_a_recall(threshold: float, pairs: Any, tmp_path: Path):
    texts = [" ".join(words) for pair in pairs[:120] for words in pair]
    kept, _ = kept_of(plain(*texts), NearDuplicates(threshold=threshold), scratch=tmp_path)
    exact = np.array([similarity(one, other) for one, other in pairs[:120]])
    gone = ~np.array(kept[1::2])
    assert gone[exact >= threshold].mean() >= 0.95 and not gone[exact < threshold].any()


def test_bands_miss_one_pair_in_two_hundred_at_the_threshold():
    for threshold in (0.5, 0.7, 0.8, 0.9, 0.99):
        bands = NearDuplicates(threshold=threshold).bands()
        assert (1 - threshold**5) ** bands <= 0.005 < (1 - threshold**5) ** (bands - 1)


def test_exact_duplicates_are_those_of_the_same_words_and_the_first_is_kept(tmp_path: Path):
    texts = ["one two", "one  two\n", "One two", "cafe\u0301", "caf\u00e9", "one two", "three"]
    kept, removed = kept_of(plain(*texts), Duplicates(), scratch=tmp_path)
    assert kept == [True, False, True, True, False, False, True]
    assert removed.counts == {"exact duplicates": 3} and removed.looked_at == 7
    assert [each["like"] for each in removed.examples] == [
        "document 0 of texts",
        "document 3 of texts",
        "document 0 of texts",
    ]


def test_questions_about_one_passage_are_no_near_duplicates_of_each_other(tmp_path: Path):
    passage = " ".join(f"word{number}" for number in range(200))
    asked = [ChatFormat().exchange(f"{passage} {who}?", "Yes") for who in ("Who", "Where")]
    documents = [*asked, asked[0], *plain(passage, passage + " more")]
    kept, _ = kept_of(documents, Duplicates(), NearDuplicates(), scratch=tmp_path)
    assert kept == [True, True, False, True, False]


def test_the_seed_changes_who_is_compared_and_texts_without_words_are_kept(tmp_path: Path):
    kept, _ = kept_of(plain("?!", "...", "a", "A!"), NearDuplicates(seed=3), scratch=tmp_path)
    assert kept == [True, True, True, False]


def test_jaccard_is_the_share_of_what_both_have():
    one, other = np.array([1, 2, 3, 4], np.uint64), np.array([3, 4, 5], np.uint64)
    assert jaccard(one, other) == 2 / 5 and jaccard(one, one) == 1
