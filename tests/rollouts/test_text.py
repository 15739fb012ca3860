"""Questions as token ids and completions as text: what doesn't fit is refused, and what is no text shows as unknown."""

import re

import numpy as np
import pytest
import tiny_stages
import tokenizers

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import PromptStyle
from reasoning.rollouts.text import decode_replies, encode_prompts
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.tasks.problems import Problem


def test_replies_are_without_the_end_symbol_and_ids_without_text_show_as_unknown(base: Artifact):
    tokenizer = tokenizer_of(base)
    end, size = tokenizer.symbol_id("<|end|>"), tokenizer.vocabulary_size
    two, tag = tokenizer.encode("2")[0], tokenizer.symbol_id("<answer>")
    tokens = np.array([[[two, end, 0], [tag, size + 5, two]]])
    lengths = np.array([[2, 3]])
    rollouts = Rollouts(tokens, np.zeros((1, 2, 3)), lengths, np.array([[False, True]]))
    assert decode_replies(tokenizer, rollouts, ChatFormat(), "") == [["2", "<answer>\ufffd2"]]
    assert decode_replies(tokenizer, rollouts, ChatFormat(), "so ") == [["so 2", "so <answer>\ufffd2"]]
    only_end = Rollouts(np.array([[[end]]]), np.zeros((1, 1, 1)), np.array([[1]]), np.array([[False]]))
    assert decode_replies(tokenizer, only_end, ChatFormat(), "") == [[""]]


def test_a_nul_shows_as_unknown_since_no_json_of_ours_may_hold_one():
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = JsonTokenizer(from_bpe(["<|end|>", *alphabet], [], ["<|end|>"], [], "gpt2"))
    [letter], [nul] = tokenizer.encode("a"), tokenizer.encode("\0")
    rollouts = Rollouts(np.array([[[letter, nul]]]), np.zeros((1, 1, 2)), np.array([[2]]), np.array([[True]]))
    assert decode_replies(tokenizer, rollouts, ChatFormat(marks=("<|end|>",)), "") == [["a\ufffd"]]


def test_a_reply_is_cut_where_the_text_of_its_end_begins_inside_of_a_token_or_over_several():
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokens, merges = ["<|end|>", *alphabet, "ĊĊ", ".Ċ"], [("Ċ", "Ċ"), (".", "Ċ")]
    tokenizer = JsonTokenizer(from_bpe(tokens, merges, ["<|end|>"], [], "llama3"))

    def read(end: str, *pieces: str) -> str:
        ids = [tokenizer.symbol_id(piece) for piece in pieces]
        shape = (1, 1, len(ids))
        rollouts = Rollouts(np.array(ids).reshape(shape), np.zeros(shape), np.array([[len(ids)]]), np.array([[False]]))
        [[text]] = decode_replies(tokenizer, rollouts, ChatFormat(end=end, marks=("<|end|>",)), "\n>")
        return text

    assert read("\n", "7", ".", "\n") == read("\n", "7", ".\n") == "\n>7."
    assert read("\n", "7", "\n\n") == "\n>7" and read("\n", "\n") == "\n>"
    assert read("\n\n", "7", "\n", "\n", "8") == read("\n\n", "7", "\n\n") == "\n>7"
    assert read("<|end|>", "7", "\n", "<|end|>") == "\n>7\n"
    assert read("\n", "7", "8") == "\n>78"


def test_prompts_are_the_chats_and_one_without_room_is_refused_with_the_numbers(base: Artifact):
    tokenizer, chat = tokenizer_of(base), ChatFormat()
    problems = (Problem("1+1?", "2", "sums"), Problem("1+1+1?", "3", "sums"))  # a term is one token
    prompts = encode_prompts(problems, chat, tokenizer, 8, 14)
    assert [tokenizer.decode(prompt) for prompt in prompts] == [chat.prompt(problem.question) for problem in problems]
    message = "the prompt '1[+]1[+]1[?]' of 6 tokens and 8 new ones make 14, more than the model's context of 13"
    with pytest.raises(InputError, match=message):
        encode_prompts(problems, chat, tokenizer, 8, 13)


def test_a_chat_whose_symbols_the_tokenizer_lacks_is_refused(base: Artifact):
    with pytest.raises(InputError, match="no single id for '<reason>'"):
        encode_prompts(tiny_stages.TEST.problems(), ChatFormat(think_open="<reason>"), tokenizer_of(base), 1, 32)


def test_the_room_counts_from_behind_the_opening(base: Artifact):
    tokenizer, problems = tokenizer_of(base), (Problem("1+1?", "2", "sums"),)
    style = PromptStyle("begun", opening="<think>1")
    assert len(encode_prompts(problems, ChatFormat(), tokenizer, 8, 15, style)[0]) == 7
    with pytest.raises(InputError, match="of 7 tokens and 8 new ones make 15, more than the model's context of 14"):
        encode_prompts(problems, ChatFormat(), tokenizer, 8, 14, style)


def test_a_style_adds_its_instruction_and_its_opening_to_the_prompt(base: Artifact):
    tokenizer, problems = tokenizer_of(base), tiny_stages.TEST.problems()
    prompts = encode_prompts(problems, ChatFormat(), tokenizer, 8, 32, PromptStyle("begun", "=", "<think>1"))
    expected = [f"<|user|>{problem.question}=<|assistant|><think>1" for problem in problems]
    assert [tokenizer.decode(prompt) for prompt in prompts] == expected


@pytest.mark.parametrize("symbol", ["<|end|>", "<|system|>"])
def test_a_question_that_would_end_its_own_turn_is_refused_as_texts_of_data_are(base: Artifact, symbol: str):
    tokenizer = tokenizer_of(base)
    with pytest.raises(InputError, match=rf"the question '1.*' holds {re.escape(symbol)}, which only the chat format"):
        encode_prompts([Problem(f"1+1?{symbol}2", "2", "sums")], ChatFormat(), tokenizer, 4, 64)
    assert encode_prompts([Problem("1+1?", "2", "sums")], ChatFormat(), tokenizer, 4, 64)
