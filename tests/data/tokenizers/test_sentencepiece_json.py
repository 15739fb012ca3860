"""The tokenizer.json of a sentencepiece model, by the tokenizers library, against sentencepiece itself."""

import json
import random

import pytest
import sentencepiece

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.data.tokenizers.sentencepiece_json import json_of_sentencepiece
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

PROSE = [
    "hello hello world, 3 + 4 = 7!",
    "the other weather of 1999 is here",
    "aaaaaaa aaa aa a",
    "  two spaces\tand\na line",
    "in the end, there then is the rest of them: (a + b) * c",
]
SYMBOLS = ("<|end|>", "<think>", "</think>")


def trained(kind, byte_fallback):
    model = train_tokenizer(
        PROSE * 3,
        vocabulary_size=400,
        symbols=SYMBOLS,
        extra_symbols=("+8", "+88"),
        kind=kind,
        byte_fallback=byte_fallback,
    )
    return SentencePieceTokenizer(model)


def texts_of(tokenizer, byte_fallback):
    """Random strings of pieces and characters, the symbols among them."""
    chance, processor = random.Random(0), tokenizer.processor
    ids = [token for token in range(2, tokenizer.vocabulary_size) if not processor.is_byte(token)]
    pieces = [processor.id_to_piece(token).replace("\u2581", " ") for token in ids]
    characters = sorted(set("".join(PROSE))) + (["é", "漢", "🙂", "<0x41>"] if byte_fallback else [])
    draws = [[chance.choice(chance.choice((pieces, characters))) for _ in range(n % 14)] for n in range(800)]
    return ["".join(draw) for draw in draws]


@pytest.mark.parametrize("byte_fallback", [True, False], ids=["bytes", "no bytes"])
@pytest.mark.parametrize("kind", ["bpe", "unigram", "char"])
def test_ids_and_texts_are_those_of_sentencepiece(kind, byte_fallback):
    ours = trained(kind, byte_fallback)
    theirs = JsonTokenizer(json_of_sentencepiece(ours, SYMBOLS[:1]))
    assert theirs.vocabulary_size == ours.vocabulary_size
    texts = texts_of(ours, byte_fallback)
    if kind == "unigram":  # equally likely cuts of a run, and names of bytes
        texts = [text for text in texts if "aaaa" not in text and "<0x41>" not in text]
    expected = ours.encode_batch(texts)
    assert len({token for row in expected for token in row}) > 30
    assert theirs.encode_batch(texts) == expected
    assert theirs.decode_batch(expected) == ours.decode_batch(expected) == texts


def test_symbols_of_turns_are_left_out_of_plain_text_and_tags_stay():
    tokenizer = JsonTokenizer(json_of_sentencepiece(trained("bpe", True), SYMBOLS[:1]))
    ids = tokenizer.encode("<think>3 + 4</think>7<|end|>")
    assert tokenizer.decode(ids, keep_special=False) == "<think>3 + 4</think>7"


def test_models_of_words_and_those_that_normalise_are_refused(tmp_path):
    for options, match in (
        ({"model_type": "word", "normalization_rule_name": "identity"}, "of whole words"),
        ({"model_type": "bpe"}, "normalises texts"),
        ({"model_type": "bpe", "normalization_rule_name": "identity", "remove_extra_whitespaces": True}, "normalises"),
    ):
        prefix = str(tmp_path / "model")
        spaces = {"remove_extra_whitespaces": False} | options
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(PROSE), model_prefix=prefix, vocab_size=60, hard_vocab_limit=False, minloglevel=2,
            add_dummy_prefix=False, **spaces,
        )  # fmt: skip
        model = (tmp_path / "model.model").read_bytes()
        with pytest.raises(InputError, match=match):
            json_of_sentencepiece(SentencePieceTokenizer(model), ())


def test_the_file_is_plain_json_with_each_symbol_once():
    description = json.loads(json_of_sentencepiece(trained("bpe", False), ()))
    names = [entry["content"] for entry in description["added_tokens"]]
    assert names == ["<pad>", "<unk>", *SYMBOLS, "+8", "+88"]
