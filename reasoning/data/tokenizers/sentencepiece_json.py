"""A sentencepiece model as the ``tokenizer.json`` that transformers and vLLM read; the ids stay the same."""

import json
from collections.abc import Sequence
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.byte_level import added_token, bpe_model
from reasoning.data.tokenizers.sentencepiece import SPACE_MARK, SentencePieceTokenizer

_UNIGRAM, _BPE, _WORD, _CHAR = 1, 2, 3, 4
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
"""Sentencepiece's numbers for kinds of models and of pieces."""

_NEVER = -1e4
"""The score of a piece that no text is cut into."""


def json_of_sentencepiece(tokenizer: SentencePieceTokenizer, special: Sequence[str]) -> bytes:
    """The content of a ``tokenizer.json`` with the same ids; ``special`` symbols are left out of a reply's plain text.

    A text that spells sentencepiece's own mark for the space is read otherwise, as a space, and one that spells the
    name of a control symbol as the symbol. Unigram models may take another of equally likely cuts (in long runs of one
    letter), and read the name of a byte (``<0x41>``) as the byte.
    Raises InputError for models of whole words, and for those that normalise texts.
    """
    schema: Any = sentencepiece_model_pb2  # whose classes are made as it is imported
    model = schema.ModelProto.FromString(tokenizer.model)
    kind, normalizer = model.trainer_spec.model_type, model.normalizer_spec
    if kind not in (_UNIGRAM, _BPE, _CHAR):
        raise InputError("a sentencepiece model of whole words can't be exported; train one of kind bpe or unigram")
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces:
        raise InputError("a sentencepiece model that normalises texts can't be exported; take its tokenizer.json")
    pieces = [(piece.piece, piece.score, piece.type) for piece in model.pieces]
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(number, text, text in special or kind in (_CONTROL, _UNKNOWN))
            for number, (text, _, kind) in enumerate(pieces)
            if kind in (_CONTROL, _UNKNOWN, _USER_DEFINED)
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE_MARK}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": _unigram(pieces) if kind == _UNIGRAM else _bpe(pieces, merging=kind == _BPE),
    }
    return json.dumps(description, ensure_ascii=False).encode()


def _unigram(pieces: Sequence[tuple[str, float, int]]) -> dict[str, Any]:
    [unknown] = [number for number, (_, _, kind) in enumerate(pieces) if kind == _UNKNOWN]
    vocabulary = [[text, score if kind == _NORMAL else _NEVER] for text, score, kind in pieces]
    return {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": _has_bytes(pieces)}


def _bpe(pieces: Sequence[tuple[str, float, int]], merging: bool) -> dict[str, Any]:
    """Merges by the score of what they make; sentencepiece takes any pair that makes a piece, so all are listed."""
    [unknown] = [text for text, _, kind in pieces if kind == _UNKNOWN]
    scores = {text: score for text, score, kind in pieces if kind == _NORMAL}
    merges = [
        (-score, place, text)
        for text, score in scores.items()
        for place in range(1, len(text))
        if text[:place] in scores and text[place:] in scores
    ]
    ids = {text: number for number, (text, _, _) in enumerate(pieces)}
    pairs = [(text[:place], text[place:]) for _, place, text in sorted(merges)] if merging else []
    return bpe_model(ids, pairs, unknown=unknown, byte_fallback=_has_bytes(pieces), ignore_merges=False)


def _has_bytes(pieces: Sequence[tuple[str, float, int]]) -> bool:
    return any(kind == _BYTE for _, _, kind in pieces)
