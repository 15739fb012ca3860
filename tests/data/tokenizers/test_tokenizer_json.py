import json
import os
import pickle
import random

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import SMOLLM_2
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PROSE = [
    "The quick brown fox jumps over the lazy dog. " * 3,
    "Ein schöner Tag: 2024, 1 + 1 = 2.\n\n\tdef f(x): return x",
]


def trained(size=400):
    """A byte-level BPE as its library trains it, as the content of a tokenizer.json."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(PROSE, trainer)
    return json.loads(backend.to_str())


def written(description):
    return json.dumps(description).encode()


@pytest.fixture(scope="module")
def description():
    return trained()


@pytest.fixture
def draft(description):
    return json.loads(json.dumps(description))


@pytest.fixture(scope="module")
def tokenizer(description):
    return JsonTokenizer(written(description), json.dumps({"pad_token": "<|im_end|>", "eos_token": None}))


@given(st.text(max_size=40))
@settings(max_examples=300)
@example("\u2581\0\ufffd\ufeff\r\n<|im_start|> a  b")
def test_any_text_survives_the_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_ids_are_those_of_the_library_and_symbols_are_single_ids(tokenizer, description):
    theirs = tokenizers.Tokenizer.from_str(json.dumps(description))
    text = "<|im_start|>user\nThe fox: 2024<|im_end|>\n"
    assert tokenizer.encode(text) == theirs.encode(text).ids
    assert [tokenizer.symbol_id(symbol) for symbol in SPECIAL] == [0, 1, 2]
    assert len(tokenizer.encode("2024")) == 4


def test_a_batch_encodes_as_its_texts_one_by_one(tokenizer):
    drawn = random.Random(0)
    texts = ["", "<|im_end|>", *("".join(drawn.choices("The fox 12\n<|im_end|>é", k=30)) for _ in range(50))]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch([]) == []


def test_decoding_without_special_symbols_leaves_them_out(tokenizer):
    ids = np.array(tokenizer.encode("<|im_start|>a<|im_end|>b"), np.int32)
    assert tokenizer.decode(ids) == "<|im_start|>a<|im_end|>b"
    assert tokenizer.decode_batch([ids, []], keep_special=False) == ["ab", ""]


def with_files(description, config, generation=None):
    return JsonTokenizer(written(description), json.dumps(config), json.dumps(generation or {}))


@pytest.mark.parametrize(
    ("config", "generation", "pad", "ends"),
    [
        ({"pad_token": "<|im_start|>", "eos_token": "<|im_end|>"}, {}, 1, (2,)),
        ({"pad_token": None, "eos_token": {"content": "<|im_end|>"}}, {}, 2, (2,)),
        ({"pad_token": None, "eos_token": "<|im_end|>"}, {"eos_token_id": [0, 2]}, 0, (0, 2)),
        ({"pad_token": "<|im_start|>"}, {"eos_token_id": 2}, 1, (2,)),
        ({}, {}, 0, ()),
    ],
)
def test_padding_and_ends_are_those_of_the_files_beside(description, config, generation, pad, ends):
    tokenizer = with_files(description, config, generation)
    assert (tokenizer.pad_id, tokenizer.ends) == (pad, ends)


@pytest.mark.parametrize(
    ("config", "generation", "match"),
    [
        ({"pad_token": "<pad>"}, {}, "no single id for '<pad>'"),
        ({"eos_token": "<eos>"}, {}, "no single id for '<eos>'"),
        ({"pad_token": 3}, {}, "pad_token is 3; it must be a text"),
        ([], {}, "tokenizer_config.json must hold a record"),
        ({}, {"eos_token_id": [2, 100_000]}, "id 100000 is outside the vocabulary"),
        ({}, {"eos_token_id": -1}, "id -1 is outside the vocabulary"),
        ({}, {"eos_token_id": "2"}, "eos_token_id is '2'; it must be an id"),
        ({}, {"eos_token_id": True}, "eos_token_id is True; it must be an id"),
    ],
)
def test_padding_and_ends_that_the_vocabulary_lacks_are_refused(description, config, generation, match):
    with pytest.raises(InputError, match=match):
        with_files(description, config, generation)


def test_an_id_outside_the_vocabulary_is_refused_or_read_as_unknown(tokenizer):
    size = tokenizer.vocabulary_size
    assert size == len(tokenizer.backend.get_vocab())
    for wrong in (size, -1):
        with pytest.raises(InputError, match=f"id {wrong} is outside the vocabulary of {size}"):
            tokenizer.decode([wrong])
    ids = tokenizer.encode("a b")
    assert tokenizer.decode_batch([[size, *ids, size + 7, size]], lenient=True) == ["\ufffda b\ufffd\ufffd"]


def test_a_hole_among_the_ids_stands_for_nothing(draft):
    draft["added_tokens"].append({**draft["added_tokens"][0], "content": "<far>", "id": 500})
    with pytest.raises(InputError, match="'<far>' can't have id 500"):
        JsonTokenizer(written(draft))


def test_a_chats_marks_must_be_single_ids_and_its_tags_need_not(tokenizer):
    tokenizer.check_symbols(SMOLLM_2)
    assert len(tokenizer.encode("<think>")) > 1
    with pytest.raises(InputError, match=r"no single id for '<\|begin\|>', .*'</answer>'"):
        tokenizer.check_symbols(ChatFormat())
    with pytest.raises(InputError, match="no single id for '<think>'"):
        tokenizer.symbol_id("<think>")


def test_what_a_file_says_of_truncation_padding_and_surroundings_is_not_done(draft, tokenizer):
    backend = tokenizers.Tokenizer.from_str(json.dumps(draft))
    backend.enable_truncation(3)
    backend.enable_padding(length=20)
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|im_start|> $A $A", special_tokens=[("<|im_start|>", 1)]
    )
    text = "The quick brown fox"
    assert len(backend.encode(text).ids) == 20
    assert JsonTokenizer(backend.to_str().encode()).encode_batch([text, "a"]) == tokenizer.encode_batch([text, "a"])


def test_a_tokenizer_can_be_pickled_and_hashed(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy == tokenizer and hash(copy) == hash(tokenizer) and copy.encode("fox") == tokenizer.encode("fox")


def test_half_a_surrogate_pair_is_refused(tokenizer):
    with pytest.raises(InputError, match="surrogate"):
        tokenizer.encode("a\ud800")


def changed(description, path, value):
    *above, last = path
    inner = description
    for step in above:
        inner = inner[step]
    inner[last] = value
    return description


DOUBLING = [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}]


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        (("model",), None, "no model with a vocab"),
        (("model", "vocab"), {}, "no model with a vocab"),
        (("model", "vocab", "!"), 1 << 40, "1099511627776 is no id"),
        (("model", "vocab", "!"), -1, "-1 is no id"),
        (("model", "vocab", "!"), True, "True is no id"),
        (("model", "vocab", "!"), "3", "'3' is no id"),
        (("model", "vocab", "!"), 5, "two tokens have the same id"),
        (("model", "merges"), [["no", "such"]], "can't read this file"),
        (("model", "merges"), "abc", "can't read this file"),
        (("model", "type"), "Magic", "can't read this file"),
        (("model", "dropout"), 0.1, "dropout"),
        (
            ("pre_tokenizer",),
            {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False},
            "can't",
        ),
        (("pre_tokenizer", "pretokenizers", 1, "add_prefix_space"), True, "a space before each text"),
        (("added_tokens",), {"a": 1}, "must be a list of records"),
        (("added_tokens", 0, "content"), {"a": 1}, "with a text as content"),
        (("added_tokens", 0, "id"), 77, "can't have id 77"),
        (("added_tokens", 0, "id"), None, "None is no id"),
        (("normalizer",), {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "can't read this file"),
        (("normalizer",), {"type": "Sequence", "normalizers": DOUBLING * 40}, "normalizer may make a text .* as long"),
        (("decoder",), {"type": "Sequence", "decoders": DOUBLING * 40}, "decoder may make a text .* as long"),
        (("pre_tokenizer",), {"type": "FixedLength", "length": 0}, "can't"),
    ],
)
def test_a_damaged_or_unfit_file_is_refused_in_one_sentence(draft, path, value, match):
    with pytest.raises(InputError, match=match):
        JsonTokenizer(written(changed(draft, path, value)))


def test_a_panic_of_the_library_is_one_error_and_prints_nothing(draft, capfd):
    draft["normalizer"] = {"type": "Replace", "pattern": {"Regex": ""}, "content": "x"}
    with pytest.raises(InputError, match="can't use this file: index out of bounds"):
        JsonTokenizer(written(draft))
    draft["normalizer"], draft["decoder"] = None, {"type": "Strip", "content": "a", "start": 1, "stop": 5}
    with pytest.raises(InputError, match="can't use this file: index out of bounds"):
        JsonTokenizer(written(draft))
    assert capfd.readouterr().err == ""
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"model": {"vocab": [1]}}'])
def test_content_that_is_no_tokenizer_is_refused(content):
    with pytest.raises(InputError, match=r"tokenizer\.json|can't read this file"):
        JsonTokenizer(content)


def test_a_file_cut_off_anywhere_is_refused(description):
    whole = written(description)
    for length in range(0, len(whole), 997):
        with pytest.raises(InputError, match="no JSON"):
            JsonTokenizer(whole[:length])


def test_a_pattern_that_never_comes_to_an_end_is_given_up(draft):
    endless = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    draft["pre_tokenizer"]["pretokenizers"].insert(0, endless)
    tokenizer = JsonTokenizer(written(draft))
    with pytest.raises(InputError, match="can't encode a text: .*retry-limit"):
        tokenizer.encode("a" * 40 + "b")


def test_a_vocabulary_that_drops_what_it_lacks_is_refused(draft):
    draft["pre_tokenizer"] = draft["decoder"] = None
    with pytest.raises(InputError, match="leaves out the characters"):
        JsonTokenizer(written(draft))


def test_text_that_the_vocabulary_lacks_is_refused_where_it_would_become_the_unknown_id():
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = JsonTokenizer(backend.to_str().encode())
    assert tokenizer.encode("a b") == [0, 1]
    with pytest.raises(InputError, match="lacks something in 'a c'"):
        tokenizer.encode("a c")


@pytest.mark.parametrize("side", ["lstrip", "rstrip"])
def test_symbols_that_take_the_white_space_beside_them_are_refused_since_pieces_would_get_other_ids(description, side):
    added = [{**entry, side: entry["content"] == "<|im_end|>"} for entry in description["added_tokens"]]
    tokenizer = JsonTokenizer(written(description | {"added_tokens": added}))
    reply, after = "1 \n<|im_end|>", "\n<|im_start|>"
    assert tokenizer.encode(reply) + tokenizer.encode(after) != tokenizer.encode(reply + after) or side == "lstrip"
    with pytest.raises(InputError, match=r"<\|im_end\|> take the white space beside them \(lstrip, rstrip\)"):
        tokenizer.check_symbols(SMOLLM_2)
    JsonTokenizer(written(description)).check_symbols(SMOLLM_2)


@pytest.mark.parametrize(("asked", "refused"), [(True, True), (False, False), (None, False)])
def test_a_setting_that_puts_a_space_before_each_text_is_refused_where_transformers_heeds_it(
    description, asked, refused
):
    alone = {**description["pre_tokenizer"]["pretokenizers"][-1]}
    config = json.dumps({"add_prefix_space": asked})
    if refused:
        with pytest.raises(InputError, match="tokenizer_config.json sets add_prefix_space: it puts a space before"):
            JsonTokenizer(written(description | {"pre_tokenizer": alone}), config)
    else:
        JsonTokenizer(written(description | {"pre_tokenizer": alone}), config)
    JsonTokenizer(written(description), config)  # inside a sequence it changes nothing there either
