from collections import Counter

import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import SMOLLM_2
from reasoning.data.documents import WHOLE, Document, Piece
from reasoning.data.packing import (
    COLUMNS,
    OPEN_ROWS,
    PackingCounts,
    concat_then_split,
    first_fit,
    pack,
    pack_into,
    pack_pairs,
)
from reasoning.data.records import read_records
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

CHAT = ChatFormat()
LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def tokenizer():
    model = train_tokenizer(
        [LETTERS], vocabulary_size=50, symbols=CHAT.symbols(), extra_symbols=(), kind="char", byte_fallback=False
    )
    return SentencePieceTokenizer(model, CHAT.symbols())


def plain(length):
    return Document((Piece("".join(LETTERS[(length + n) % 8] for n in range(length)), learn=True),))


def run(documents, tokenizer, length=16, packer=first_fit):
    tally = PackingCounts()
    return list(pack(documents, tokenizer, length, packer, tally)), tally


def segments_of(row):
    return [row["tokens"][row["segments"] == number].tolist() for number in range(1, row["segments"].max() + 1)]


documents = st.lists(
    st.one_of(
        st.text(LETTERS, min_size=0, max_size=12).map(CHAT.plain),
        st.tuples(st.text(LETTERS, max_size=5), st.text(LETTERS, max_size=6)).map(lambda pair: CHAT.exchange(*pair)),
    ),
    min_size=1,
    max_size=60,
)


BYTES = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
MARKS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]


def test_a_familys_conversation_is_packed_with_loss_on_the_reply_and_its_end_alone():
    vocabulary = from_bpe([*BYTES, *MARKS], [], MARKS, [], "smollm")
    [row], tally = run([SMOLLM_2.exchange("1 + 1?", "2!")], JsonTokenizer(vocabulary), length=160)
    decode = JsonTokenizer(vocabulary, '{"pad_token": "<|endoftext|>"}').decode
    assert decode(row["tokens"][row["loss_mask"] == 1]) == "2!<|im_end|>" and tally.learnt == 3
    assert decode(row["tokens"][row["segments"] == 1]) == SMOLLM_2.prompt("1 + 1?") + "2!<|im_end|>\n"
    assert not row["loss_mask"][row["segments"] == 0].any()


@given(documents)
@settings(max_examples=60)
def test_first_fit_keeps_every_document_whole_and_every_column_right(tokenizer, documents):
    rows, tally = run(documents, tokenizer)
    learnt = {}
    for document in documents:
        flags = [piece.learn for piece in document.pieces for _ in tokenizer.encode(piece.text)]
        learnt[tuple(tokenizer.encode(document.text()))] = [False, *flags[1:]]
    found = Counter()
    for row in rows:
        assert set(row) == set(COLUMNS)
        assert all(column.shape == (16,) and column.dtype == np.int32 for column in row.values())
        used = sum(map(len, segments_of(row)))
        assert (row["segments"][:used] > 0).all() and (np.diff(row["segments"][:used]) >= 0).all()
        for column in COLUMNS:
            assert not row[column][used:].any()
        for number, tokens in enumerate(segments_of(row), 1):
            inside = row["segments"] == number
            assert row["positions"][inside].tolist() == list(range(len(tokens)))
            assert row["loss_mask"][inside].astype(bool).tolist() == learnt[tuple(tokens)]
            found[tuple(tokens)] += 1
    assert found == Counter(tuple(tokenizer.encode(document.text())) for document in documents)
    assert tally.documents == len(documents) and tally.dropped == tally.split == 0


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
@settings(max_examples=40)
def test_concat_then_split_keeps_all_tokens_in_order_and_fills_all_rows_but_the_last(tokenizer, lengths):
    documents = [plain(length) for length in (*lengths, 2)]
    rows, tally = run(documents, tokenizer, packer=concat_then_split)
    tokens = np.concatenate([row["tokens"][row["segments"] > 0] for row in rows]).tolist()
    assert tokens == [token for document in documents for token in tokenizer.encode(document.text())]
    assert all(row["segments"].min() > 0 for row in rows[:-1])
    for row in rows:
        np.testing.assert_array_equal(row["loss_mask"], (row["positions"] > 0).astype(np.int32))
    assert tally.split == sum(length > 16 for length in lengths)


def test_a_long_plain_document_is_cut_into_row_long_parts_that_start_anew(tokenizer):
    rows, tally = run([plain(37)], tokenizer)
    assert [len(tokens) for row in rows for tokens in segments_of(row)] == [16, 16, 5]
    assert [token for row in rows for tokens in segments_of(row) for token in tokens] == tokenizer.encode(
        plain(37).text()
    )
    assert all(row["positions"][0] == row["loss_mask"][0] == 0 and row["loss_mask"][1] == 1 for row in rows)
    assert (tally.documents, tally.split, tally.dropped) == (1, 1, 0)


def test_a_long_completion_is_dropped_and_counted_and_one_that_just_fits_is_kept(tokenizer):
    fits, too_long = CHAT.exchange("a", "b" * 12), CHAT.exchange("a", "b" * 13)
    rows, tally = run([too_long, fits, too_long], tokenizer)
    assert [segments_of(row) for row in rows] == [[tokenizer.encode(fits.text())]]
    assert (tally.documents, tally.dropped, tally.split) == (3, 2, 0)


def test_the_tally_counts_what_the_rows_hold(tokenizer):
    rows, tally = run([CHAT.exchange("abc", "de"), plain(5), plain(14)], tokenizer)
    assert tally.rows == len(rows) == 2
    # <|user|>abc<|assistant|> is read only, de<|end|> is learnt; the first token of a plain text is not.
    assert tally.tokens == 8 + 5 + 14
    assert tally.learnt == 3 + 4 + 13
    assert tally.fill(16) == pytest.approx(27 / 32)
    assert tally.learnt == sum(int(row["loss_mask"].sum()) for row in rows)


def test_the_same_documents_give_the_same_rows(tokenizer):
    documents = [plain(1 + n * 7 % 15) for n in range(3 * OPEN_ROWS[1])]
    first, second = run(documents, tokenizer)[0], run(documents, tokenizer)[0]
    assert len(first) > OPEN_ROWS[1]
    for left, right in zip(first, second, strict=True):
        for column in COLUMNS:
            np.testing.assert_array_equal(left[column], right[column])


def test_short_documents_fill_nine_tenths_of_the_places(tokenizer):
    drawn = np.random.default_rng(0).integers(2, 60, 2000)
    _, tally = run([plain(int(length)) for length in drawn], tokenizer, length=64)
    assert tally.fill(64) > 0.9 and tally.tokens == drawn.sum()


def test_concat_then_split_refuses_to_cut_a_completion_from_its_prompt(tokenizer):
    with pytest.raises(InputError, match="cut a document with a prompt.*first_fit"):
        run([CHAT.exchange("ab", "cd")] * 3, tokenizer, packer=concat_then_split)


@pytest.mark.parametrize(
    ("documents", "match"),
    [
        ([], "of 0 documents .* no token is left"),
        ([CHAT.exchange("a", "b" * 40)], r"of 1 documents \(1 longer than 16 tokens and dropped\)"),
        ([Document((Piece("abc", learn=False),))], "no token is left to learn"),
        ([Document(())], "document 0 has no tokens"),
        ([CHAT.plain("a"), Document((Piece("", learn=True),))], "document 1 has no tokens"),
    ],
)
def test_documents_that_teach_nothing_are_refused(tokenizer, documents, match):
    with pytest.raises(InputError, match=match):
        run(documents, tokenizer)


def test_packed_rows_are_written_as_a_dataset_that_tfds_reads(tokenizer, tmp_path):
    documents = [plain(1 + n % 15) for n in range(40)]
    tally = PackingCounts()
    pack_into(tmp_path / "rows", documents, tokenizer, 16, first_fit, tally)
    expected, _ = run(documents, tokenizer)
    source = tfds.builder_from_directory(tmp_path / "rows").as_data_source(split="train")
    assert len(source) == len(read_records(tmp_path / "rows")) == tally.rows == len(expected)
    for found, row in zip(source, expected, strict=True):
        for column in COLUMNS:
            assert found[column].dtype == np.int32
            np.testing.assert_array_equal(found[column], row[column])


@pytest.mark.parametrize("packer", [first_fit, concat_then_split])
def test_the_mask_says_what_the_tokens_of_a_piece_weigh(tokenizer, packer):
    texts = [Document((Piece("abc", learn=True, weight=weight),)) for weight in (0.25, 1.0, 1e-12, 1 - 1e-12)]
    rows, tally = run(texts, tokenizer, length=12, packer=packer)
    [row] = rows
    assert tally.learnt == 8
    for segment, parts in enumerate((WHOLE // 4, 1, 2, WHOLE - 1), start=1):
        assert row["loss_mask"][row["segments"] == segment].tolist() == [0, parts, parts]


def test_numbers_travel_with_their_tokens():
    chance = np.random.default_rng(5)
    documents = [chance.integers(1, 2**31 - 1, (size, 2), np.int32) for size in chance.integers(1, 9, 40)]
    found = []
    for row in pack_pairs(documents, 8):
        assert {len(column) for column in row.values()} == {8}
        for segment in range(1, row["segments"].max() + 1):
            own = row["segments"] == segment
            assert row["positions"][own].tolist() == list(range(own.sum()))
            found.append(np.stack([row["tokens"][own], row["numbers"][own]], axis=1).tolist())
        assert not any(row[name][row["segments"] == 0].any() for name in ("tokens", "numbers"))
    assert sorted(found) == sorted(each.tolist() for each in documents)


def test_first_fit_gives_the_rows_of_grains_own_packer():
    chance = np.random.default_rng(6)
    length = 1 << 16  # so long that few rows are open, and fill up several times
    documents = [{"tokens": np.full((size, 2), size, np.int32)} for size in chance.integers(1, length + 1, 100)]
    stream = grain.MapDataset.source(documents).to_iter_dataset()
    theirs = grain.experimental.FirstFitPackIterDataset(
        stream, length_struct={"tokens": length}, num_packing_bins=OPEN_ROWS[0], shuffle_bins=False
    )
    rows, expected = list(first_fit(stream, length)), list(theirs)
    assert len(rows) == len(expected) > 2 * OPEN_ROWS[0]
    for row, own in zip(rows, expected, strict=True):
        assert row.keys() == own.keys()
        for name in row:
            np.testing.assert_array_equal(row[name], own[name], strict=True)
