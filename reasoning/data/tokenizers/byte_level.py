"""A ``tokenizer.json`` of the byte-level kind from its parts: for vocabularies that come without one, as in GGUF."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from reasoning.core.errors import InputError

Style = Literal["gpt2", "smollm", "qwen2", "llama3", "deepseek3", "tekken"]
"""How text is cut before byte pairs are merged; the names are those of GGUF's families (``tokenizer.ggml.pre``)."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LAST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN_2 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_LAST}"
_LLAMA_3 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_LAST}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK_3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)

_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "qwen2": (_QWEN_2,),
    "llama3": (_LLAMA_3,),
    "tekken": (_TEKKEN,),
    "deepseek3": _DEEPSEEK_3,
}


def from_bpe(
    tokens: Sequence[str], merges: Sequence[tuple[str, str]], special: Sequence[str], plain: Sequence[str], style: Style
) -> bytes:
    """The content of the ``tokenizer.json`` of a byte-level BPE, for ``JsonTokenizer``.

    ``tokens`` are all tokens by id, bytes spelled as GPT-2 does, ``merges`` the pairs in the order of their rank.
    ``special`` and ``plain`` are those tokens that are found in a text before it is cut: ``special`` ones are symbols
    that ``decode(…, keep_special=False)`` leaves out, ``plain`` ones (GGUF's "user defined") are text. Raises
    InputError for a token given twice, a special one that isn't among them, a merge of or into none, and an unknown
    style. Source: BPE, arXiv 1508.07909; GPT-2's bytes.
    """
    if style not in get_args(Style):
        raise InputError(f"there is no style {style!r} of cutting text; there are {', '.join(get_args(Style))}")
    ids = {token: number for number, token in enumerate(tokens)}
    if len(ids) < len(tokens):
        repeated = next(token for number, token in enumerate(tokens) if ids[token] != number)
        raise InputError(f"the token {repeated!r} is given twice; each id needs a token of its own")
    lacking = [symbol for symbol in (*special, *plain) if symbol not in ids]
    if lacking:
        raise InputError(f"the symbol {lacking[0]!r} is not among the {len(tokens)} tokens")
    for left, right in merges:
        if left not in ids or right not in ids or left + right not in ids:
            raise InputError(f"the merge of {left!r} and {right!r} has a token that is not among the {len(tokens)}")
    added = [(symbol, True) for symbol in special] + [(symbol, False) for symbol in plain]
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(ids[symbol], symbol, kind) for symbol, kind in sorted(added, key=lambda pair: ids[pair[0]])
        ],
        "normalizer": {"type": "NFC"} if style == "qwen2" else None,
        "pre_tokenizer": _cutting(style),
        "post_processor": None,
        "decoder": _bytes(use_regex=True),
        "model": bpe_model(ids, merges, unknown=None, byte_fallback=False, ignore_merges=style in ("llama3", "tekken")),
    }
    return json.dumps(description, ensure_ascii=False).encode()


def added_token(token: int, symbol: str, special: bool) -> dict[str, Any]:
    """One of the ``added_tokens`` of a ``tokenizer.json``, which is found as it is wherever it stands in a text."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token, "content": symbol, **flags, "special": special}


def bpe_model(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    unknown: str | None,
    byte_fallback: bool,
    ignore_merges: bool,
) -> dict[str, Any]:
    """The ``model`` of a ``tokenizer.json`` that merges pairs, in the order of their rank."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": ids,
        "merges": [list(pair) for pair in merges],
    }


def _cutting(style: Style) -> dict[str, Any]:
    """How a text is cut, as ``tokenizer.json`` says it."""
    if style == "gpt2":
        return _bytes(use_regex=True)
    if style == "smollm":
        steps = [{"type": "Digits", "individual_digits": True}, _bytes(use_regex=True)]
    else:
        cuts = [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            for pattern in _PATTERNS[style]
        ]
        steps = [*cuts, _bytes(use_regex=False)]
    return {"type": "Sequence", "pretokenizers": steps}


def _bytes(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
