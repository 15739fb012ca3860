"""Whether two tokenizers give the same ids, by what they do: two files of one vocabulary seldom have the same bytes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer
from reasoning.data.tokenizers.sentencepiece_json import json_of_sentencepiece
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

_LISTED = ("vocab", "merges", "unk_id")
"""Fields of a model in ``tokenizer.json`` that are compared entry by entry, or by the pieces that they name."""

_AFFIXES = ("continuing_subword_prefix", "end_of_word_suffix")

_OF_OFFSETS = "trim_offsets"
"""A setting of where tokens lie in a text, which changes no id."""

_NORMAL = 1
"""Sentencepiece's number for pieces that are found by their score."""


@dataclass(frozen=True)
class _Behaviour:
    """What decides the ids of a text. Pieces that no text becomes (GGUF's names for a model's spare rows) are left out.

    ``merges`` are in the order of their rank, ``symbols`` found before a text is cut, ``settings`` all else.
    """

    pieces: Mapping[int, str]
    scores: Mapping[int, float]
    merges: tuple[tuple[str, str], ...]
    symbols: Mapping[int, Any]
    settings: Mapping[str, Any]


def tokenizer_difference(one: Tokenizer, other: Tokenizer) -> str | None:
    """The first difference between two tokenizers that can change a text's ids, in words; None where there is none.

    Compared are ids and their pieces, scores, merges in their order, symbols that are found before a text is cut, and
    how a text is normalised and cut. Not compared are white space and order in a file, what only decoding reads (which
    symbols are special, too), symbols around each text, padding and ends, and how a vocabulary was trained. A
    sentencepiece model is compared with a ``tokenizer.json`` by the one that would be exported for it.
    """
    if type(one) is type(other) and one.model == other.model:
        return None
    if isinstance(one, SentencePieceTokenizer) and isinstance(other, SentencePieceTokenizer):
        return _difference(_of_sentencepiece(one), _of_sentencepiece(other))
    try:
        return _difference(_of_json(_as_json(one)), _of_json(_as_json(other)))
    except InputError as error:
        return f"they are of different kinds, {type(one).__name__} and {type(other).__name__}, and {error}"


def _as_json(tokenizer: Tokenizer) -> JsonTokenizer:
    """The tokenizer as a ``tokenizer.json``. Raises InputError where it can't be written as one."""
    if isinstance(tokenizer, JsonTokenizer):
        return tokenizer
    if isinstance(tokenizer, SentencePieceTokenizer):
        return JsonTokenizer(json_of_sentencepiece(tokenizer, ()))
    raise InputError(f"a tokenizer of type {type(tokenizer).__name__} can't be compared")


def _of_json(tokenizer: JsonTokenizer) -> _Behaviour:
    """Read from what the library writes, who fills in what a file leaves out and spells merges in one way."""
    description = json.loads(tokenizer.backend.to_str())
    model = description["model"]
    merges = tuple((left, right) for left, right in model.get("merges", ()))
    symbols = {entry["id"]: entry for entry in description["added_tokens"]}
    pieces = {token: piece for piece, token in tokenizer.backend.get_vocab(with_added_tokens=True).items()}
    settings = {name: value or None if name in _AFFIXES else value for name, value in model.items()}
    if model["type"] == "BPE" and not model["ignore_merges"] and not any(settings[name] for name in _AFFIXES):
        made = {left + right for left, right in merges} | {model["unk_token"]}
        pieces = {
            token: piece
            for token, piece in pieces.items()
            if token in symbols or piece in made or len(piece) == 1 or (model["byte_fallback"] and _names_byte(piece))
        }
    return _Behaviour(
        pieces=pieces,
        scores={token: score for token, (_, score) in enumerate(model["vocab"])} if model["type"] == "Unigram" else {},
        merges=merges,
        symbols={token: {k: v for k, v in entry.items() if k != "special"} for token, entry in symbols.items()},
        settings={name: value for name, value in settings.items() if name not in _LISTED}
        | {"unknown piece": pieces.get(model.get("unk_id"))}
        | {name: _without_offsets(description[name]) for name in ("normalizer", "pre_tokenizer")},
    )


def _names_byte(piece: str) -> bool:
    return len(piece) == len("<0x00>") and piece.startswith("<0x") and piece.endswith(">")


def _without_offsets(part: Any) -> Any:
    """A normaliser or a way of cutting, and all that it is made of, without the settings of offsets."""
    if isinstance(part, dict):
        return {name: _without_offsets(value) for name, value in part.items() if name != _OF_OFFSETS}
    return [_without_offsets(each) for each in part] if isinstance(part, list) else part


def _of_sentencepiece(tokenizer: SentencePieceTokenizer) -> _Behaviour:
    schema: Any = sentencepiece_model_pb2  # whose classes are made as it is imported
    model = schema.ModelProto.FromString(tokenizer.model)
    training, normalizer = model.trainer_spec, model.normalizer_spec
    pieces = tuple(enumerate(model.pieces))
    names = ("precompiled_charsmap", "add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces")
    return _Behaviour(
        pieces={token: piece.piece for token, piece in pieces},
        scores={token: piece.score for token, piece in pieces if piece.type == _NORMAL},
        merges=(),
        symbols={token: piece.type for token, piece in pieces if piece.type != _NORMAL},
        settings={
            "model_type": training.model_type,
            "treat_whitespace_as_suffix": training.treat_whitespace_as_suffix,
            "control symbols": tokenizer.controls,
            **{name: getattr(normalizer, name) for name in names},
        },
    )


def _difference(one: _Behaviour, other: _Behaviour) -> str | None:
    """The first difference in words."""
    for what, ours, theirs in (
        ("id {} is", one.pieces, other.pieces),
        ("the score of id {} is", one.scores, other.scores),
        ("merge {} is", dict(enumerate(one.merges)), dict(enumerate(other.merges))),
        ("the symbol of id {} is", one.symbols, other.symbols),
        ("{} is", one.settings, other.settings),
    ):
        if ours != theirs:
            return next(_differences(what, ours, theirs))
    return None


def _differences(what: str, one: Mapping[Any, Any], other: Mapping[Any, Any]) -> Iterator[str]:
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            first, second = (f"{held[key]!r:.60}" if key in held else "nothing" for held in (one, other))
            yield f"{what.format(key)} {first} in the first and {second} in the second"
