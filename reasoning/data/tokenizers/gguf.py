"""The tokenizer that a GGUF file describes in its metadata, as a ``tokenizer.json``."""

import json
from collections.abc import Callable
from typing import Any

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.byte_level import Style, from_bpe
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

Field = Callable[..., Any]
"""``field(name, default)`` gives a metadata field's value; without a default it raises where there is none."""

_STYLES: dict[str, Style] = {
    "gpt-2": "gpt2",
    "gpt2": "gpt2",
    "smollm": "smollm",
    "qwen2": "qwen2",
    "llama-bpe": "llama3",
    "llama3": "llama3",
    "deepseek-v3": "deepseek3",
    "deepseek-r1-qwen": "qwen2",
    "tekken": "tekken",
}
"""llama.cpp's names for how a text is cut."""

_CONTROL, _USER_DEFINED = 3, 4
"""Kinds of tokens that are found in a text before it is cut: symbols, and plain text that is always one token."""


def tokenizer_of_gguf(field: Field) -> JsonTokenizer:
    """The tokenizer of a file's metadata. Raises InputError for kinds other than byte-level BPE, and damaged ones."""
    kind, cut = field("tokenizer.ggml.model"), field("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or not isinstance(cut, str) or cut not in _STYLES:
        raise InputError(
            f"the file's tokenizer is of kind {kind!r} and cuts text as {cut!r}; byte-level ones ('gpt2') that cut as "
            f"{', '.join(_STYLES)} can be read, for others take the tokenizer.json of the model's own folder"
        )
    tokens = _listed(field, "tokenizer.ggml.tokens", str)
    kinds = _listed(field, "tokenizer.ggml.token_type", int, [0] * len(tokens))
    if len(kinds) != len(tokens):
        raise InputError(f"tokenizer.ggml.token_type has {len(kinds)} entries for {len(tokens)} tokens; fetch it again")
    marked = {
        wanted: [token for token, kind in zip(tokens, kinds, strict=True) if kind == wanted]
        for wanted in (_CONTROL, _USER_DEFINED)
    }
    model = from_bpe(
        tokens,
        _merges(_listed(field, "tokenizer.ggml.merges", str)),
        marked[_CONTROL],
        marked[_USER_DEFINED],
        _STYLES[cut],
    )
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name, key in (("eos_token", "eos_token_id"), ("pad_token", "padding_token_id"), ("bos_token", "bos_token_id")):
        number = _whole(field, f"tokenizer.ggml.{key}")
        if 0 <= number < len(tokens):
            config[name] = tokens[number]
    template = field("tokenizer.chat_template", "")
    if not isinstance(template, str):
        raise InputError(f"tokenizer.chat_template is {template!r:.40}, expected a text; fetch the file again")
    if template:
        config["chat_template"] = template
    ends = {_whole(field, f"tokenizer.ggml.{key}") for key in ("eos_token_id", "eot_token_id")}
    generation = {"eos_token_id": sorted(end for end in ends if end >= 0)}
    return JsonTokenizer(model, json.dumps(config, ensure_ascii=False), json.dumps(generation))


def _listed(field: Field, name: str, kind: type, default: list[Any] | None = None) -> list[Any]:
    values = field(name, default)
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise InputError(f"{name} is {values!r:.40}, expected a list of {kind.__name__}; fetch the file again")
    return values


def _whole(field: Field, name: str) -> int:
    value = field(name, -1)
    if type(value) is not int:
        raise InputError(f"{name} is {value!r:.40}, expected a whole number; fetch the file again")
    return value


def _merges(written: list[str]) -> list[tuple[str, str]]:
    wrong = [merge for merge in written if " " not in merge]
    if wrong:
        raise InputError(f"the file's tokenizer has the merge {wrong[0]!r:.40}, which is no pair; fetch the file again")
    return [(left, right) for left, _, right in (merge.partition(" ") for merge in written)]
