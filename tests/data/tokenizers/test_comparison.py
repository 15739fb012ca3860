"""Two tokenizers are the same where every text gets the same ids, whatever the bytes of their files."""

import json
import random
import re
from functools import cache
from itertools import product
from typing import Any

import pytest
import tokenizers
from sentencepiece import sentencepiece_model_pb2

from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.comparison import tokenizer_difference
from reasoning.data.tokenizers.gguf import tokenizer_of_gguf
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.data.tokenizers.sentencepiece_json import json_of_sentencepiece
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

ALPHABET = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
SYMBOLS = ["<|end|>", "<|user|>"]
MERGES = [("t", "h"), ("th", "e"), ("e", "r"), ("a", "b")]
TOKENS = [*ALPHABET, *("".join(pair) for pair in MERGES), *SYMBOLS]
CONTENT = from_bpe(TOKENS, MERGES, SYMBOLS, [], "qwen2")
ENDS = len(TOKENS) - 2
TEXTS = ["the other there, 1234 (ab)!<|end|>ab  er\n\nth é", "<|user|>abab the\u0301 12", "\u00e9 theer"]


def of_bytes(content: bytes = CONTENT) -> JsonTokenizer:
    return JsonTokenizer(content)


def rewritten(change: Any = None, **how: Any) -> JsonTokenizer:
    """The tokenizer after ``change`` of its description, written with other white space."""
    description = json.loads(CONTENT)
    if change is not None:
        change(description)
    return JsonTokenizer(json.dumps(description, **{"indent": 1, **how}).encode())


def swap_merges(file: Any) -> None:
    merges = file["model"]["merges"]
    merges[2], merges[3] = merges[3], merges[2]


def swap_ids(file: Any) -> None:
    vocab = file["model"]["vocab"]
    vocab["th"], vocab["er"] = vocab["er"], vocab["th"]


def without_symbol(file: Any) -> None:
    del file["model"]["vocab"]["<|user|>"]
    file["added_tokens"].pop()


def symbols_outside_the_model(file: Any) -> None:
    """As most published files are written."""
    for symbol in SYMBOLS:
        del file["model"]["vocab"][symbol]


def merges_as_texts(file: Any) -> None:
    """As files of older versions of the library are written."""
    file["model"]["merges"] = [" ".join(pair) for pair in file["model"]["merges"]]
    for name in ("ignore_merges", "byte_fallback", "dropout"):
        del file["model"][name]


def spare_rows(file: Any) -> None:
    """As GGUF names the rows that a model has beyond its tokenizer."""
    file["model"]["vocab"] |= {f"[PAD{number}]": number for number in range(len(TOKENS), len(TOKENS) + 9)}


def decoding_otherwise(file: Any) -> None:
    file["decoder"]["trim_offsets"] = file["pre_tokenizer"]["pretokenizers"][1]["trim_offsets"] = False
    file["added_tokens"][1]["special"] = False
    file["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    file["model"]["continuing_subword_prefix"] = file["model"]["end_of_word_suffix"] = ""
    file["post_processor"] = {**file["decoder"], "type": "ByteLevel"}


SAME = [merges_as_texts, symbols_outside_the_model, spare_rows, decoding_otherwise]


@pytest.mark.parametrize("change", [None, *SAME])
def test_what_changes_no_ids_makes_no_other_tokenizer(change: Any):
    other = rewritten(change)
    assert other.model != CONTENT
    assert other.encode_batch(TEXTS) == of_bytes().encode_batch(TEXTS)
    assert tokenizer_difference(of_bytes(), other) is None and tokenizer_difference(other, of_bytes()) is None


def test_keys_may_come_in_another_order():
    assert tokenizer_difference(of_bytes(), rewritten(sort_keys=True, separators=(",", ":"))) is None


TH, ER = TOKENS.index("th"), TOKENS.index("er")
DIFFERENT = {
    f"id {TH} is 'th' in the first and 'er' in the second": swap_ids,
    r"merge 2 is \('e', 'r'\) in the first and \('a', 'b'\) in the second": swap_merges,
    rf"id {ENDS + 1} is '<\|user\|>' in the first and nothing in the second": without_symbol,
    "normalizer is {'type': 'NFC'} in the first and None in the second": lambda file: file.update(normalizer=None),
    "pre_tokenizer is .* in the first and .* in the second": lambda file: file["pre_tokenizer"]["pretokenizers"].pop(0),
    f"the symbol of id {ENDS} is .* in the first and .* in the second": lambda file: file["added_tokens"][0].update(
        lstrip=True
    ),
    "ignore_merges is False in the first and True": lambda file: file["model"].update(ignore_merges=True),
}


@pytest.mark.parametrize(("sentence", "change"), DIFFERENT.items(), ids=DIFFERENT)
def test_what_changes_ids_is_told_in_words(sentence: str, change: Any):
    found = tokenizer_difference(of_bytes(), rewritten(change))
    assert found is not None and re.search(sentence, found)


def test_the_tokenizer_of_a_gguf_is_that_of_the_models_folder():
    kinds = [3 if token in SYMBOLS else 1 for token in TOKENS] + [5] * 7
    spare = [f"[PAD{number}]" for number in range(len(TOKENS), len(TOKENS) + 7)]
    fields = {
        "model": "gpt2",
        "pre": "qwen2",
        "tokens": [*TOKENS, *spare],
        "token_type": kinds,
        "merges": [" ".join(pair) for pair in MERGES],
    }
    read = tokenizer_of_gguf(lambda name, default=None: fields.get(name.removeprefix("tokenizer.ggml."), default))
    assert read.vocabulary_size == len(TOKENS) + 7
    assert tokenizer_difference(read, rewritten(symbols_outside_the_model)) is None


@cache
def pieces(kind: Any, byte_fallback: bool = False) -> SentencePieceTokenizer:
    """A small vocabulary; equal arguments give equal ones."""
    texts = ["the other weather is here", "in the end, there then is the rest of them", "aa aaa ab"] * 3
    return SentencePieceTokenizer(
        train_tokenizer(
            texts,
            vocabulary_size=400,
            symbols=SYMBOLS,
            extra_symbols=(),
            kind=kind,
            byte_fallback=byte_fallback,
        )
    )


def proto(change: Any, kind: str = "bpe") -> SentencePieceTokenizer:
    """The vocabulary after ``change`` of its record."""
    schema: Any = sentencepiece_model_pb2
    model = schema.ModelProto.FromString(pieces(kind).model)
    change(model)
    return SentencePieceTokenizer(model.SerializeToString())


def trained_elsewhere(model: Any) -> None:
    model.trainer_spec.input.append("corpus.txt")
    model.trainer_spec.num_threads = 7
    model.trainer_spec.self_test_sample_size = 3


def other_piece(model: Any) -> None:
    model.pieces[-1].piece = "q"


def other_score(model: Any) -> None:
    model.pieces[-1].score = -1.5


def test_how_a_sentencepiece_model_was_trained_does_not_matter():
    other = proto(trained_elsewhere)
    assert other.model != pieces("bpe").model
    assert tokenizer_difference(pieces("bpe"), other) is None


def test_other_pieces_scores_and_settings_of_a_sentencepiece_model_are_told():
    own = pieces("bpe")
    last, name = own.vocabulary_size - 1, own.processor.id_to_piece(own.vocabulary_size - 1)
    found = tokenizer_difference(own, proto(other_piece))
    assert found == f"id {last} is {name!r} in the first and 'q' in the second"
    found = tokenizer_difference(own, proto(other_score))
    assert (
        found is not None and found.startswith(f"the score of id {last} is ") and found.endswith("-1.5 in the second")
    )
    found = tokenizer_difference(own, proto(lambda model: setattr(model.normalizer_spec, "escape_whitespaces", False)))
    assert found == "escape_whitespaces is True in the first and False in the second"


@pytest.mark.parametrize(("kind", "byte_fallback"), list(product(["bpe", "unigram", "char"], [False, True])))
def test_a_sentencepiece_model_is_the_tokenizer_json_that_is_exported_for_it(kind: str, byte_fallback: bool):
    own = pieces(kind, byte_fallback)
    exported = JsonTokenizer(json_of_sentencepiece(own, SYMBOLS[:1]))
    assert tokenizer_difference(own, exported) is None and tokenizer_difference(exported, own) is None
    assert tokenizer_difference(own, of_bytes()) is not None


def test_a_sentencepiece_model_that_has_no_tokenizer_json_is_told_from_one():
    normalising = proto(lambda model: setattr(model.normalizer_spec, "remove_extra_whitespaces", True))
    found = tokenizer_difference(normalising, of_bytes())
    assert found is not None and "of different kinds, SentencePieceTokenizer and JsonTokenizer" in found


def test_random_vocabularies_are_the_same_exactly_where_random_texts_get_the_same_ids():
    chance = random.Random(3)

    def drawn() -> Tokenizer:
        merges = [pair for pair in product("ab", "ab") if chance.random() < 0.5]
        chance.shuffle(merges)
        return JsonTokenizer(from_bpe([*ALPHABET, "aa", "ab", "ba", "bb"], merges, [], [], "gpt2"))

    texts = ["".join(chance.choice("ab") for _ in range(9)) for _ in range(60)]
    many = [drawn() for _ in range(12)]
    found = [
        (tokenizer_difference(one, other) is None, one.encode_batch(texts) == other.encode_batch(texts))
        for one, other in product(many, many)
    ]
    assert {same for same, _ in found} == {True, False}
    assert all(equal for same, equal in found if same)
