"""The tokenizer in a GGUF file's metadata."""

from collections.abc import Callable
from typing import Any

import pytest
from gguf_file import MERGES, SYMBOLS, tokens

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.gguf import tokenizer_of_gguf


def fields(**changes: Any) -> Callable[..., Any]:
    """Metadata of a small file; ``changes`` replace fields, None takes one out."""
    held = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tokens(),
        "token_type": [3 if token in SYMBOLS else 1 for token in tokens()],
        "merges": list(MERGES),
        "eos_token_id": 2,
        "padding_token_id": 0,
        **changes,
    }

    def field(name: str, default: Any = None) -> Any:
        found = held.get(name.removeprefix("tokenizer.ggml."))
        if found is None and default is None:
            raise InputError(f"no field {name}")
        return default if found is None else found

    return field


def test_texts_become_its_tokens_and_come_back():
    tokenizer = tokenizer_of_gguf(fields())
    text = "in the 12 the\n<|im_end|>"
    ids = tokenizer.encode(text)
    names = [tokens()[token] for token in ids]
    assert names[2:4] == ["\u0120the", "\u0120"] and names[-1] == "<|im_end|>"
    assert names[4:6] == ["1", "2"]  # digits are cut apart before pairs are merged
    assert tokenizer.decode(ids) == text
    assert (tokenizer.ends, tokenizer.pad_id, tokenizer.vocabulary_size) == ((2,), 0, len(tokens()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "llama"}, "of kind 'llama'"),
        ({"pre": "unheard-of"}, "cuts text as 'unheard-of'"),
        ({"tokens": None}, "no field tokenizer.ggml.tokens"),
        ({"merges": ["th"]}, "the merge 'th', which is no pair"),
    ],
)
def test_what_can_not_be_read_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        tokenizer_of_gguf(fields(**changes))
