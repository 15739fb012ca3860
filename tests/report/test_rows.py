import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Piece
from reasoning.data.packing import PackedRow, PackingCounts, first_fit, pack
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.report.rows import LEARNT_CLOSE, LEARNT_OPEN, ShownRow, Stretch, read_row, show_rows

CHAT = ChatFormat()
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


@settings(max_examples=50, deadline=None)
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


def test_nothing_in_a_row_acts_on_the_terminal_and_unlearnt_documents_are_named():
    row = ShownRow(((Stretch("\x1b[2Jask", False, 3), Stretch("[red]x", True, 2)), (Stretch("lost", False, 1),)), 4)
    console = Console(file=io.StringIO(), width=200)
    show_rows(console, "rows", [row])
    said = console.file.getvalue()
    assert f"ask{LEARNT_OPEN}[red]x{LEARNT_CLOSE}" in said and "\x1b" not in said
    assert "row 0: 2 tokens learnt, 4 read, 4 padding" in said
    assert "document 1: nothing learnt" in said
