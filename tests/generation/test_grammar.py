"""Patterns over vocabularies: against Python's own regular expressions and JSON, and labels by their beginnings.

Shapes: S states, V tokens.
"""

import json
import random
import re
import string

import numpy as np
import pytest
import tokenizers

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer, end_ids
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer
from reasoning.generation.grammar import (
    NEVER,
    AnyOf,
    Character,
    Joined,
    Pattern,
    Repeated,
    Text,
    json_object,
    one_of,
    token_table,
)
from reasoning.tasks.extraction import has_type

SCHEMA = {"name": "string", "age": "integer", "height": "number", "member": "boolean"}
TEXTS = [
    json.dumps({"name": name, "age": age, "height": 1.5, "member": True, "more": None})
    for name, age in (("Zoë\n", 12), ("a\\b", -30), ('"quoted" text', 4567), (string.printable[:95], 890))
] + [string.printable[:95]]


def learnt(texts: list[str], chat: ChatFormat, kind: str = "bpe", size: int = 220) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(
        train_tokenizer(
            texts,
            vocabulary_size=size,
            symbols=chat.single_ids(),
            extra_symbols=(),
            kind=kind,
            byte_fallback=False,
        )
    )


TAGGED = ChatFormat()
LINES = ChatFormat(
    begin="",
    user="",
    assistant="",
    system="",
    end="\n",
    answer_open="",
    answer_close="",
    text_end="<|e|>",
    marks=("<|e|>",),
)
MERGES = [("}", "Ċ"), (":", "Ġ"), (",", "Ġ"), ('"', ":Ġ"), ("t", "r"), ("u", "e"), ("tr", "ue"), ("true", "}Ċ")]
BYTES = from_bpe(
    [*sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()), *map("".join, MERGES), "<|e|>"],
    MERGES,
    ["<|e|>"],
    [],
    "gpt2",
)
TOKENIZERS = {"symbols": (TAGGED, learnt(TEXTS * 20, TAGGED)), "lines": (LINES, JsonTokenizer(BYTES))}


@pytest.fixture(params=TOKENIZERS)
def vocabulary(request) -> tuple[ChatFormat, Tokenizer]:
    return TOKENIZERS[request.param]


def walked(next_SV: np.ndarray, ids: list[int]) -> int:
    """The state behind some tokens, ``NEVER`` where one of them mustn't be said."""
    state = 0
    for token in ids:
        if state != NEVER:
            state = int(next_SV[state, token])
    return state


def ended(next_SV: np.ndarray, ids: list[int], end: list[int]) -> bool:
    return walked(next_SV, [*ids, *end]) == len(next_SV) - 1


def written_at_random(next_SV: np.ndarray, tokenizer, chat, seed: int) -> str:
    """A reply of tokens drawn among those that may be said; nearer to an end where it gets long."""
    generator, state, ids, ends = random.Random(seed), 0, [], set(end_ids(tokenizer, chat))
    while not ids or state != len(next_SV) - 1:
        may = np.flatnonzero(next_SV[state] != NEVER).tolist()
        over = [token for token in may if next_SV[state, token] == len(next_SV) - 1]
        if over and len(ids) > 20:
            may = over
        elif len(ids) > 60:  # out of strings and numbers, where they may go on for ever
            may = [token for token in may if next_SV[state, token] > state] or may
        ids.append(generator.choice(may))
        state = int(next_SV[state, ids[-1]])
    text = tokenizer.decode(ids)
    assert set(ids) & ends or "\n" in text
    return text.removesuffix(chat.end)


def test_whatever_is_drawn_is_an_object_of_the_schema(vocabulary):
    chat, tokenizer = vocabulary
    table = token_table(tokenizer, chat, json_object(SCHEMA)).next_SV
    for seed in range(40):
        record = json.loads(written_at_random(table, tokenizer, chat, seed))
        assert list(record) == list(SCHEMA)
        assert all(has_type(value, SCHEMA[name]) for name, value in record.items())


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ('{"name": "a", "age": 12, "height": 1.5, "member": true}', True),
        ('{"name":"a","age":null,"height":-30,"member":false}', True),
        ('{"name": "a\\\\b \\"c\\"", "age": 0, "height": 0.05, "member": null}', True),
        ('{"name": "a", "age": 012, "height": 1.5, "member": true}', False),
        ('{"name": "a", "age": 1.0, "height": 1.5, "member": true}', False),
        ('{"name": "a", "age": 1, "height": 1., "member": true}', False),
        ('{"name": "a\\x", "age": 1, "height": 1, "member": true}', False),
        ('{"age": 1, "name": "a", "height": 1, "member": true}', False),
        ('{"name": "a", "age": 1, "height": 1}', False),
        ('{"name": "a", "age": 1, "height": 1, "member": true} ', False),
        ('{"name": a, "age": 1, "height": 1, "member": true}', False),
    ],
)
def test_objects_of_a_schema_may_be_said_and_others_not(vocabulary, text, may):
    chat, tokenizer = vocabulary
    table = token_table(tokenizer, chat, json_object(SCHEMA)).next_SV
    ids = tokenizer.encode(text)
    assert ended(table, ids, tokenizer.encode(chat.end)) is may
    assert not may or not ended(table, ids[:-1], tokenizer.encode(chat.end))


PATTERNS: list[tuple[Pattern, str]] = [
    (one_of(("ab", "a", "abba", "")), r"ab|a|abba|"),
    (Joined((Repeated(one_of(("ab", "a"))), Text("b"))), r"(ab|a)*b"),
    (Repeated(AnyOf((Joined((Text("a"), Repeated(Text("b")))), Text("ba")))), r"(ab*|ba)*"),
    (Joined((Character("a", others=True), Repeated(Character("ab")))), r"[^a][ab]*"),
    (Joined((Repeated(Character("", others=True)), Text("ab"))), r".*ab"),
]


@pytest.mark.parametrize(("pattern", "expression"), PATTERNS)
def test_a_pattern_allows_the_texts_of_the_regular_expression(pattern, expression):
    tokenizer = learnt(["abc", "bca", "cab"], TAGGED, kind="char", size=80)
    table, end = token_table(tokenizer, TAGGED, pattern).next_SV, tokenizer.encode(TAGGED.end)
    for length in range(6):
        for number in range(3**length):
            text = "".join("abc"[number // 3**place % 3] for place in range(length))
            assert ended(table, tokenizer.encode(text), end) == bool(re.fullmatch(expression, text)), text


def test_of_labels_those_tokens_may_be_said_with_which_one_goes_on(vocabulary):
    chat, tokenizer = vocabulary
    labels = ("name", "named", "age", "member")
    table = token_table(tokenizer, chat, one_of(labels)).next_SV
    spelled = {token: tokenizer.decode([token]) for token in range(tokenizer.vocabulary_size)}
    ends, behind = set(end_ids(tokenizer, chat)), "\n" if chat is LINES else ""

    def check(state: int, said: str, depth: int) -> None:
        for token, text in spelled.items():
            goes_on = bool(text) and any((label + behind).startswith(said + text) for label in labels)
            wanted = said in labels if token in ends else goes_on and "<|" not in text
            assert bool(table[state, token] != NEVER) is wanted, (said, text)
            if wanted and token not in ends and depth < 8 and table[state, token] < len(table) - 1:
                check(int(table[state, token]), said + text, depth + 1)

    check(0, "", 0)


def test_before_a_text_anything_is_said_and_behind_its_first_place_only_the_pattern():
    tokenizer = learnt(["abcx", "bcax", "cabx"], TAGGED, kind="char", size=80)
    table = token_table(tokenizer, TAGGED, one_of(("a", "bb")), "aab").next_SV
    end = tokenizer.encode(TAGGED.end)
    think = tokenizer.encode(TAGGED.think_open)
    for length in range(9):
        generator = random.Random(length)
        for _ in range(60):
            text = "".join(generator.choice("abc") for _ in range(length))
            before, found, behind = text.partition("aab")
            ids = [*think, *tokenizer.encode(text)]  # a symbol is said in the free part
            assert ended(table, ids, end) == (not found or behind in ("a", "bb")), text
    assert walked(table, tokenizer.encode("aab") + think) == NEVER


def test_what_a_vocabulary_cannot_spell_is_refused_and_dead_ends_are_not_entered():
    tokenizer = learnt(["abc"], TAGGED, kind="char", size=60)
    with pytest.raises(InputError, match="can't spell any reply that the pattern allows"):
        token_table(tokenizer, TAGGED, Text("abX"))
    table = token_table(tokenizer, TAGGED, one_of(("abX", "b"))).next_SV
    assert walked(table, tokenizer.encode("a")) == NEVER and walked(table, tokenizer.encode("b")) != NEVER
