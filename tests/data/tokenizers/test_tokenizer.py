import json
from dataclasses import replace

import pytest
import tokenizers

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import LLAMA_3_1, SMOLLM_2
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.data.tokenizers.tokenizer import end_ids, stop_ids, text_ends
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

SYMBOLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>"]
ALPHABET = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def tokenizer(*ends):
    content = from_bpe([*SYMBOLS, *ALPHABET], [], SYMBOLS, [], "gpt2")
    return JsonTokenizer(content, generation=json.dumps({"eos_token_id": list(ends)}))


def test_a_reply_ends_with_the_formats_end_its_other_ends_and_those_of_the_model():
    assert end_ids(tokenizer(), SMOLLM_2) == (2, 0)
    assert end_ids(tokenizer(2, 7), SMOLLM_2) == (2, 0, 7)
    assert end_ids(tokenizer(4), LLAMA_3_1) == (3, 4)  # <|end_of_text|> is no symbol of this vocabulary


def test_an_end_that_is_no_single_id_is_refused():
    with pytest.raises(InputError, match="no single id for '</s>'"):
        end_ids(tokenizer(), replace(SMOLLM_2, end="</s>"))


def test_a_vocabulary_of_our_own_knows_one_end():
    model = train_tokenizer(
        ["ab"], vocabulary_size=50, symbols=ChatFormat().symbols(), extra_symbols=(), kind="char", byte_fallback=False
    )
    own = SentencePieceTokenizer(model)
    assert end_ids(own, ChatFormat()) == (own.symbol_id("<|end|>"),)


def lines_tokenizer():
    """Ids with a line's end (spelled Ċ, as GPT-2 does) by itself, twice, and behind a full stop."""
    tokens, merges = ["<|endoftext|>", *ALPHABET, "ĊĊ", ".Ċ"], [("Ċ", "Ċ"), (".", "Ċ")]
    return JsonTokenizer(from_bpe(tokens, merges, SYMBOLS[:1], [], "llama3"))


LINES = ChatFormat(end="\n", marks=("<|endoftext|>",))


def test_an_end_that_is_plain_text_stops_a_reply_at_every_id_that_holds_it():
    lines = lines_tokenizer()
    assert text_ends(lines, LINES) == ("\n",)
    assert end_ids(lines, LINES) == (lines.symbol_id("\n"),)
    assert set(stop_ids(lines, LINES)) == {lines.symbol_id(text) for text in ("\n", "\n\n", ".\n")}
    assert stop_ids(lines, LINES)[0] == lines.symbol_id("\n")
    with_two = replace(LINES, end="\n\n")
    assert stop_ids(lines, with_two) == (lines.symbol_id("\n\n"),)  # two single ones run on


def test_a_symbol_that_ends_replies_is_one_id_and_no_text():
    assert text_ends(tokenizer(), SMOLLM_2) == ()
    assert stop_ids(tokenizer(2, 7), SMOLLM_2) == end_ids(tokenizer(2, 7), SMOLLM_2)
