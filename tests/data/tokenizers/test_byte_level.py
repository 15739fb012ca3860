"""Against a plain byte-pair merger that cuts ASCII text by Python's own regular expressions."""

import json
import random
import re
import unicodedata

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

CORPUS = ["It's 2024, and we've 1234567 apples.\n\n  The answer = the sum + 12;\tI'LL do it: HTTPServer/fooBar\r\n"] * 3
SPECIAL, PLAIN = ("<|end|>", "<|start|>"), ("<think>",)

WORDS = r"[^\r\nA-Za-z0-9]?[A-Za-z]+"
LAST = r" ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
CUTS = {
    "gpt2": (GPT_2,),
    "smollm": (r"[0-9]", GPT_2),
    "qwen2": (rf"{SHORT}|{WORDS}|[0-9]|{LAST}",),
    "llama3": (rf"{SHORT}|{WORDS}|[0-9]{{1,3}}|{LAST}",),
}


def parts():
    """Tokens and merges of a small vocabulary, in which many words are whole."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    model = json.loads(backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return [*SPECIAL, *tokens, *PLAIN], [tuple(pair) for pair in model["merges"]]


TOKENS, MERGES = parts()
BUILT = {style: JsonTokenizer(from_bpe(TOKENS, MERGES, SPECIAL, PLAIN, style)) for style in CUTS}


def cut(text, patterns):
    """The pieces of a text, each pattern applied to what the ones before left between their matches."""
    if not patterns:
        return [text] if text else []
    pieces, at = [], 0
    for match in re.finditer(patterns[0], text):
        pieces += [*cut(text[at : match.start()], patterns[1:]), *cut(match.group(), patterns[1:])]
        at = match.end()
    return [*pieces, *cut(text[at:], patterns[1:])]


def spelled(piece):
    """ASCII as GPT-2 spells it: printable characters as they are, others moved up to where letters are."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return "".join(chr(byte if byte in printable else 256 + others.index(byte)) for byte in piece.encode())


def merged(piece):
    """The tokens of one piece: again and again the pair of lowest rank becomes one."""
    ranks = {pair: rank for rank, pair in enumerate(MERGES)}
    tokens = list(spelled(piece))
    while True:
        pairs = [(ranks.get(pair, len(ranks)), at) for at, pair in enumerate(zip(tokens, tokens[1:], strict=False))]
        rank, at = min(pairs, default=(len(ranks), 0))
        if rank == len(ranks):
            return tokens
        tokens[at : at + 2] = ["".join(tokens[at : at + 2])]


def expected(text, style):
    ids = []
    for part in re.split(r"(<\|end\|>|<\|start\|>|<think>)", text):
        if part in (*SPECIAL, *PLAIN):
            ids.append(TOKENS.index(part))
        else:
            ids += [TOKENS.index(token) for piece in cut(part, CUTS[style]) for token in merged(piece)]
    return ids


@pytest.mark.parametrize("style", CUTS)
def test_ids_are_those_of_a_plain_merger(style):
    drawn = random.Random(0)
    words = [
        "It's",
        " The",
        " 1234567",
        "12",
        "\n",
        "  ",
        "\t",
        " answer",
        "I'LL",
        ".",
        ", ",
        "<think>",
        "<|end|>",
        "\r\n",
    ]
    for _ in range(300):
        text = "".join(drawn.choices(words, k=drawn.randint(0, 12)))
        assert BUILT[style].encode(text) == expected(text, style), text


@pytest.mark.parametrize("style", CUTS)
@given(
    st.text(st.characters(min_codepoint=9, max_codepoint=126, exclude_characters="\v\f\x1c\x1d\x1e\x1f"), max_size=30)
)
@settings(max_examples=200)
def test_any_ascii_text_is_cut_alike(style, text):
    assert BUILT[style].encode(text) == expected(text, style)


@pytest.mark.parametrize("style", ["gpt2", "smollm", "qwen2", "llama3", "tekken", "deepseek3"])
@given(st.text(max_size=30))
@settings(max_examples=100)
def test_texts_of_all_scripts_survive_the_round_trip(style, text):
    tokenizer = JsonTokenizer(from_bpe(TOKENS, MERGES, SPECIAL, PLAIN, style))
    whole = unicodedata.normalize("NFC", text) if style == "qwen2" else text
    assert tokenizer.decode(tokenizer.encode(text)) == whole


@pytest.mark.parametrize(
    ("style", "pieces"),
    [
        ("gpt2", ["2024"]),
        ("smollm", ["2", "0", "2", "4"]),
        ("qwen2", ["2", "0", "2", "4"]),
        ("tekken", ["2", "0", "2", "4"]),
        ("llama3", ["202", "4"]),
        ("deepseek3", ["202", "4"]),
    ],
)
def test_styles_differ_in_how_many_digits_may_be_one_token(style, pieces):
    letters = [token for token in TOKENS if len(token) == 1]
    tokens, merges = [*SPECIAL, *PLAIN, *letters, "20", "202", "2024"], [("2", "0"), ("20", "2"), ("202", "4")]
    tokenizer = JsonTokenizer(from_bpe(tokens, merges, SPECIAL, PLAIN, style))
    assert [tokenizer.decode([token]) for token in tokenizer.encode("2024")] == pieces


def test_special_symbols_are_left_out_where_asked_and_plain_ones_never():
    tokenizer = BUILT["smollm"]
    ids = tokenizer.encode("<|start|><think>a<|end|>")
    assert len(ids) == 4 and tokenizer.decode(ids, keep_special=False) == "<think>a"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tokens": [*TOKENS, "!"]}, "the token '!' is given twice"),
        ({"special": ("<none>",)}, "the symbol '<none>' is not among"),
        ({"merges": [("a", "Q~")]}, "the merge of 'a' and 'Q~' has a token that is not among"),
        ({"merges": [("~", "~")]}, "the merge of '~' and '~'"),
        ({"style": "gpt5"}, "no style 'gpt5' of cutting text; there are gpt2, smollm"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, match):
    given = {"tokens": TOKENS, "merges": MERGES, "special": SPECIAL, "plain": PLAIN, "style": "gpt2", **changes}
    with pytest.raises(InputError, match=match):
        from_bpe(**given)
