import re
from collections import Counter

from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.invented import SYNONYMS, Invented
from reasoning.tasks.reading_corpus import ReadingCorpus
from reasoning.tasks.retrieval import Retrieved
from reasoning.tasks.splits import split_of

CHAT = ChatFormat()
FACTS = Invented()
ASKED = Retrieved(task=FACTS, corpus=FACTS, line="[{number}]{passage}\n", form="{passages}{question}")
LINE = re.compile(r"\[(\d)\]([A-Z][a-z]{3})(\.[a-z]+):([a-z]+)\n")
TURN = re.compile(r"<\|user\|>([A-Z][a-z]{3}\.[a-z]+\?)<\|assistant\|>(.*?)<\|end\|>")
REPLY = re.compile(r"([a-z]+)(?:\[(\d)\])?")


def test_few_replies_cite_and_some_are_of_any_passage():
    writer = ReadingCorpus(asked=ASKED)
    meant = {synonym: word for word, synonym in SYNONYMS.items()}
    replies, cited, right, bare, sizes = 0, 0, 0, 0, Counter()
    for index in range(1500):
        text = writer(0, index, CHAT).text()
        lines = LINE.findall(text)
        told = {name + meant.get(word, word) + "?": (value, number) for number, name, word, value in lines}
        turns = TURN.findall(LINE.sub("", text))
        assert "".join(f"<|user|>{asked}<|assistant|>{reply}<|end|>" for asked, reply in turns) == LINE.sub("", text)
        assert all(split_of(asked) == "train" for asked, _ in turns) and turns
        if not told:
            bare += 1
            continue
        assert [number for _, number in told.values()] == ["1", "2", "3", "4"][: len(told)]
        sizes[len(told)] += 1
        for asked, reply in turns:
            value, number = REPLY.fullmatch(reply).groups()
            replies, cited, right = replies + 1, cited + bool(number), right + (value == told[asked][0])
            assert number is None or (value, number) in told.values()
    assert 0.27 < cited / replies < 0.33
    assert all(0.2 < sizes[number] / (1500 - bare) < 0.3 for number in (1, 2, 3, 4))
    assert 0.03 < bare / 1500 < 0.07
    # Of 10 %, half are of the right passage all the same (all questions of one, a quarter of those of four).
    assert 0.92 < right / replies < 0.97


def test_only_replies_are_learnt():
    document = ReadingCorpus(asked=ASKED)(0, 0, CHAT)
    assert all(piece.learn == piece.text.endswith("<|end|>") for piece in document.pieces)


def test_a_document_depends_only_on_seed_and_number():
    writer = ReadingCorpus(asked=ASKED)
    assert writer(3, 5, CHAT) == writer(3, 5, CHAT) != writer(4, 5, CHAT)


def test_symbols_hold_the_numbers():
    assert {"[1]", "[4]", "Baba", ".hue:", ".color?"} <= set(ReadingCorpus(asked=ASKED).symbols)
