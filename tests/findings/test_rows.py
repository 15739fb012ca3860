import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.data import columns as data_columns
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import formats
from reasoning.data.chat.tools import FencedCalls
from reasoning.data.documents import Document, Piece, last_reply
from reasoning.data.packing import PackedRow, PackingCounts, first_fit, pack
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.findings.rows import read_row

CHAT = ChatFormat()
ENDS_OF_ANSWERS = ("[/TOOL_RESULTS]", "<｜tool▁outputs▁end｜>")
"""Behind which replies begin where a family opens none behind what a tool answers."""
TEXTS = ["what is one and one? two", "a café, für élan", "1+1=2, 2+2=4"]
TOKENIZER = SentencePieceTokenizer(
    train_tokenizer(
        TEXTS * 20, vocabulary_size=400, symbols=CHAT.single_ids(), extra_symbols=(), kind="bpe", byte_fallback=True
    )
)


def packed(*documents: Document) -> list[PackedRow]:
    return list(pack(documents, TOKENIZER, 64, first_fit, PackingCounts()))


def test_only_the_replies_of_a_conversation_are_marked():
    messages = [("user", "one?"), ("assistant", "1"), ("user", "and two?"), ("assistant", "2")]
    document = CHAT.document([{"role": role, "content": text} for role, text in messages])
    (row,) = packed(document)
    (parts,) = read_row(row, TOKENIZER).documents
    assert [(part.text, part.learn) for part in parts] == [
        ("<|user|>one?<|assistant|>", False),
        ("1<|end|>", True),
        ("<|user|>and two?<|assistant|>", False),
        ("2<|end|>", True),
    ]


pieces = st.lists(st.tuples(st.text("abc é1+ ?☃", min_size=1, max_size=8), st.booleans()), min_size=1, max_size=5)


@settings(max_examples=50)
@given(st.lists(pieces, min_size=1, max_size=3))
def test_all_text_is_shown_and_the_counts_are_those_of_the_mask(documents):
    """Whatever the pieces: their texts come back whole and in order, and every place of the row is counted once."""
    written = [Document((Piece("<|begin|>", learn=False), *(Piece(*each) for each in found))) for found in documents]
    written.append(CHAT.exchange("1?", "1"))  # so that something is learnt
    rows = packed(*written)
    shown = [read_row(row, TOKENIZER) for row in rows]
    texts = ["".join(part.text for part in parts) for row in shown for parts in row.documents]
    assert sorted(texts) == sorted(TOKENIZER.decode(_ids(document)) for document in written)
    for row, one in zip(rows, shown, strict=True):
        assert one.count(learn=True) == int(row["loss_mask"].sum())
        assert one.count(learn=True) + one.count(learn=False) + one.padding == 64
        assert one.padding == int((np.asarray(row["segments"]) == 0).sum())


def _ids(document: Document) -> list[int]:
    return [token for piece in document.pieces for token in TOKENIZER.encode(piece.text)]


FAMILIES = {"own": CHAT, **formats()}


class Letters:
    """Ids are the numbers of characters, so that a place in a row is a place in its text."""

    def encode_batch(self, texts):
        return [list(map(ord, text)) for text in texts]

    def decode_batch(self, rows, lenient=False):
        return ["".join(map(chr, ids)) for ids in rows]


WORDS = st.text("abé ☃+1\n?", max_size=6)


@st.composite
def conversations(draw, rounds: int):
    """Messages, and of each reply that is to be learnt the text in which it stands; no text stands in another.

    Tools are called in so many rounds at most.
    """
    messages, learnt = [], []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": f"s{draw(WORDS)}s"})
    for turn in range(draw(st.integers(1, 4))):
        messages.append({"role": "user", "content": f"q{turn}{draw(WORDS)}q"})
        if rounds and draw(st.booleans()):
            rounds -= 1
            name = f"call{turn:05}"
            call = {"id": name, "function": {"name": f"f{turn}", "arguments": {"é": draw(st.integers(0, 99))}}}
            messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
            learnt.append(f"f{turn}")
            messages += [{"role": "tool", "content": f"t{turn}", "tool_call_id": name}] * draw(st.integers(1, 2))
        train = draw(st.sampled_from([{}, {"train": False}, {"weight": 0}, {"train": True, "weight": 1}]))
        messages.append({"role": "assistant", "content": f"r{turn}{draw(WORDS)}r", **train})
        if train in ({}, {"train": True, "weight": 1}):
            learnt.append(messages[-1]["content"])
    return messages, learnt


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=12)
@given(data=st.data(), last=st.booleans())
def test_the_mask_of_every_family_holds_the_replies_and_their_ends_and_nothing_else(name, data, last):
    """By the places of letters: a row is decoded token by token, and the mask must hold the places of the replies."""
    chat = FAMILIES[name]
    rounds = 0 if chat.tools is None else 1 if isinstance(chat.tools, FencedCalls) else 4
    messages, learnt = data.draw(conversations(rounds))
    if not learnt:
        return
    document = data_columns.read_row({"messages": messages}, ("messages",), chat, "")
    text = document.text()
    (row,) = list(pack([last_reply(document) if last else document], Letters(), 4096, first_fit, PackingCounts()))
    spans = []
    for reply in learnt:
        at = text.index(reply)  # and the text around it that belongs to it: a call's, or a block of thinking
        openings = (chat.assistant or "[/INST]", *ENDS_OF_ANSWERS)
        start = max(text.rindex(opening, 0, at) + len(opening) for opening in openings if opening in text[:at])
        spans.append((start, text.index(chat.end, at) + len(chat.end)))
    if chat.opening and text[spans[-1][0] :].startswith(chat.opening):
        spans[-1] = (spans[-1][0] + len(chat.opening), spans[-1][1])
    masked = [text[start:end] for start, end in (spans[-1:] if last else spans)]
    (parts,) = read_row(row, Letters()).documents
    assert "".join(part.text for part in parts) == text
    places = [0]
    for part in parts:
        places.append(places[-1] + len(part.text))
    assert [part.text for part in parts if part.learn] == masked
    wanted = spans[-1:] if last else spans
    assert [(a, b) for a, b, part in zip(places, places[1:], parts, strict=False) if part.learn] == wanted


def test_what_weighs_less_says_how_much():
    (row,) = packed(Document((Piece("one?", learn=False), Piece("1", learn=True, weight=0.25))))
    shown = read_row(row, TOKENIZER)
    assert [(part.text, part.weight) for part in shown.documents[0]] == [("one?", 1.0), ("1", 0.25)]
