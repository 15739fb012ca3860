"""The bound holds for what the library makes of texts, and refuses what would never end."""

import base64
import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.data.tokenizers.growth import longest_growth


def replace(pattern, content, kind="String"):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def sequence(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


STEPS = st.one_of(
    st.builds(replace, st.text("ab", min_size=1, max_size=3), st.text("abc", max_size=6)),
    st.builds(replace, st.sampled_from(["a+", "b+", "."]), st.text("abc", max_size=4), st.just("Regex")),
    st.builds(lambda text: {"type": "Prepend", "prepend": text}, st.text("ab", min_size=1, max_size=3)),
    st.sampled_from([{"type": "NFKD"}, {"type": "NFC"}, {"type": "Lowercase"}]),
)


@given(st.lists(STEPS, min_size=1, max_size=4), st.text("abA\ufdfa", min_size=1, max_size=12))
@settings(max_examples=150)
def test_no_text_grows_further_in_the_library(steps, text):
    backend = {"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []}
    backend["normalizer"] = sequence(sequence(*steps[:2]), *steps[2:])
    normalised = tokenizers.Tokenizer.from_str(json.dumps(backend)).normalizer.normalize_str(text)
    assert len(normalised) <= longest_growth(backend["normalizer"]) * len(text)


def charsmap(*texts):
    return base64.b64encode((0).to_bytes(4, "little") + b"\0".join(texts)).decode()


@pytest.mark.parametrize(
    ("step", "growth"),
    [
        (None, 1),
        (sequence(replace(" ", "\u2581"), {"type": "Prepend", "prepend": "\u2581"}), 2),
        (sequence(*[replace("a", "aa")] * 8), 2**8),
        ({"type": "Sequence", "decoders": [replace("\u2581", " "), {"type": "ByteFallback"}]}, 1),
        ({"type": "Precompiled", "precompiled_charsmap": charsmap(b"ab", b"abcdefg")}, 7),
        ({"type": "Precompiled", "precompiled_charsmap": "?"}, 1),
        ({"type": "Replace", "content": 5}, 1),
    ],
)
def test_steps_of_a_sequence_multiply(step, growth):
    assert longest_growth(step) == growth


def test_a_bound_of_any_number_of_steps_is_found_at_once():
    assert longest_growth(sequence(*[replace("a", "aa")] * 100_000)) > 1e12
