import re
from collections import Counter

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.invented import SYNONYMS, Invented
from reasoning.tasks.reading_corpus import ReadingCorpus
from reasoning.tasks.retrieval import Retrieved
from reasoning.tasks.splits import split_of

CHAT = ChatFormat()
FACTS = Invented()
ASKED = Retrieved(task=FACTS, corpus=FACTS, line="[{number}]{passage}\n", form="{passages}{question}")
LINE = re.compile(r"\[(\d)\]([A-Z][a-z]-[a-z]{2})(\.[a-z]+):([a-z]+)\n")
REPLY = re.compile(r"(<answer>)?([a-z]+)(?:\[(\d)\])?(</answer>)?")


def read(text: str) -> tuple[dict[int, tuple[str, str]], str, str, str | None, bool]:
    """Passages by number (what is asked for, the answer), question, answer, citation, and whether it has tags."""
    text = text.removeprefix(CHAT.begin).removeprefix(CHAT.user).replace(CHAT.close + CHAT.assistant, "")
    text = text.removesuffix(CHAT.end)
    meant = {synonym: word for word, synonym in SYNONYMS.items()}
    told = {int(number): (name + meant.get(word, word), value) for number, name, word, value in LINE.findall(text)}
    question, reply = re.fullmatch(r"([A-Z][a-z]-[a-z]{2}\.[a-z]+\?)(.*)", LINE.sub("", text)).groups()
    opened, value, cited, closed = REPLY.fullmatch(reply).groups()
    assert bool(opened) == bool(closed)
    return told, question, value, cited, bool(opened)


def test_documents_are_of_the_kinds_that_the_shares_say_and_a_fifth_answers_from_any_passage():
    writer = ReadingCorpus(asked=ASKED)
    kinds, right = Counter(), 0
    for index in range(2000):
        told, question, value, cited, tagged = read(writer(0, index, CHAT).text())
        kinds["bare" if not told else "cited" if cited else "tagged" if tagged else "direct"] += 1
        assert split_of(question) == "train"
        if not told:
            continue
        assert sorted(told) == [1, 2, 3, 4]
        assert len({asked for asked, _ in told.values()}) == 4
        [answer] = [each for asked, each in told.values() if f"{asked}?" == question]
        right += value == answer
        assert cited is None or told[int(cited)][1] == value
    shares = {"direct": 0.45, "tagged": 0.30, "cited": 0.15, "bare": 0.10}
    assert all(abs(kinds[kind] / 2000 - share) < 0.04 for kind, share in shares.items())
    # Of the fifth, one in four names the right passage, and others may tell the same by chance.
    assert 0.82 < right / (2000 - kinds["bare"]) < 0.90


def test_a_document_depends_only_on_seed_and_number():
    writer = ReadingCorpus(asked=ASKED)
    assert writer(3, 5, CHAT) == writer(3, 5, CHAT) != writer(4, 5, CHAT)


def test_symbols_hold_the_numbers_and_shares_of_nothing_are_refused():
    assert {"[1]", "[4]", "Ba", "-ba", ".hue"} <= set(ReadingCorpus(asked=ASKED).symbols)
    with pytest.raises(InputError, match="no kind of document with a share above zero"):
        ReadingCorpus(asked=ASKED, direct=0.0, tagged=0.0, cited=0.0, bare=0.0)
