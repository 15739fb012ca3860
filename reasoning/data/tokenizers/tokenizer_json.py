"""Text to token ids and back with a ``tokenizer.json``, the format of the ``tokenizers`` library and of most models."""

import json
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from reasoning.core.errors import InputError
from reasoning.core.files import write_atomic
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.growth import longest_growth
from reasoning.data.tokenizers.tokenizer import missing_symbols

JSON_FILE, CONFIG_FILE, GENERATION_FILE = "tokenizer.json", "tokenizer_config.json", "generation_config.json"

_LARGEST_ID = 1 << 22
"""Higher ids are taken for a mistake: a model would need a row for each id below."""

_LARGEST_GROWTH = 1000
"""How many times as long as a text its normal form may be; those of known models stay below 600."""

_REPLACEMENT = "\ufffd"

_DESCRIPTOR = threading.Lock()
"""Held while descriptor 2 leads elsewhere: two that changed it at once would put it back wrongly."""

_PROBE = "a b\n" + "a" * 8 + "\u00e9"
"""A text that shows whether a vocabulary's steps work at all."""

_PREFIX = "add_prefix_space"
_NO_PIECES = "puts a space before each text, so pieces of a conversation can't be encoded one by one"

_SPACES = ("\u2581", "\u0120")
"""What vocabularies write for a space: sentencepiece's mark, and the byte 32 of GPT-2's."""


@dataclass(frozen=True)
class JsonTokenizer:
    """A vocabulary in a ``tokenizer.json``; ``model`` is the content of that file.

    ``config`` and ``generation`` are the texts of the ``tokenizer_config.json`` and ``generation_config.json`` beside
    it, kept as they are. What a file says of truncation, padding and symbols around each text is not done: the chat
    format writes all symbols. Raises InputError for content that is no such file or would not give the same ids each
    time, and for padding and ends that the vocabulary lacks.
    """

    model: bytes = field(repr=False)
    config: str = field(default="{}", repr=False)
    generation: str = field(default="{}", repr=False)

    def __post_init__(self) -> None:
        description = read_record(self.model, JSON_FILE)
        check_description(description)
        cut = description.get("pre_tokenizer")
        if isinstance(cut, dict) and "add_prefix_space" in cut and read_record(self.config, CONFIG_FILE).get(_PREFIX):
            raise InputError(f"{CONFIG_FILE} sets {_PREFIX}: it {_NO_PIECES}")
        with _failures("can't use this file"), _panics_unprinted():
            _check_backend(self.backend, description)
        check_ids((self.pad_id, *self.ends), self.vocabulary_size)

    @cached_property
    def backend(self) -> tokenizers.Tokenizer:
        """The library's own view of the file."""
        with _failures("can't read this file"):
            backend = tokenizers.Tokenizer.from_str(self.model.decode())
            # A file's template could even repeat a text.
            backend.post_processor = None
            backend.no_truncation()
            backend.no_padding()
        return backend

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest id, added symbols included."""
        return self._size

    @property
    def pad_id(self) -> int:
        """The id that fills rows up: the padding of ``tokenizer_config.json``, else an end of a text, else 0."""
        symbol = symbol_named(read_record(self.config, CONFIG_FILE), "pad_token")
        if symbol is not None:
            return self.symbol_id(symbol)
        return self.ends[0] if self.ends else 0

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end a text: those of ``generation_config.json``, else the one of ``tokenizer_config.json``."""
        named = named_ends(self.config, self.generation)
        return tuple(self.symbol_id(end) if isinstance(end, str) else end for end in named)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and the two files beside it that ``load_tokenizer`` reads."""
        write_atomic(folder / JSON_FILE, self.model)
        write_atomic(folder / CONFIG_FILE, self.config)
        write_atomic(folder / GENERATION_FILE, self.generation)

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Raises InputError for a text that holds something the vocabulary lacks."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, much faster than one by one. Raises InputError as ``encode`` does."""
        with _failures("can't encode a text"):
            try:
                rows = [
                    encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
                ]
            except (UnicodeEncodeError, TypeError):
                raise InputError("can only encode text that UTF-8 can write; one holds half a surrogate pair") from None
        if self._unknown is not None:
            for text, ids in zip(texts, rows, strict=True):
                if self._unknown in ids:
                    raise InputError(f"the vocabulary lacks something in {text[:60]!r}; take another tokenizer")
        return rows

    def decode(self, ids: Iterable[int], keep_special: bool = True) -> str:
        """The text of some ids. Raises InputError for an id that stands for nothing.

        Ids that were not encoded from text may spell broken UTF-8, which becomes U+FFFD.
        """
        return self.decode_batch([ids], keep_special)[0]

    def decode_batch(
        self, rows: Iterable[Iterable[int]], keep_special: bool = True, lenient: bool = False
    ) -> list[str]:
        """The texts of many rows of ids. Raises InputError as ``decode`` does.

        Where ``lenient``, an id that stands for nothing becomes U+FFFD: models may have more rows than ids.
        """
        with _failures("can't decode ids"):
            return [self._decode(np.asarray(list(ids), dtype=np.int64).tolist(), keep_special, lenient) for ids in rows]

    def symbol_id(self, symbol: str) -> int:
        """The one id of a symbol, or of a text that is one id by itself, such as a line's end.

        Raises InputError where there is no such id.
        """
        ids = self._ids(symbol)
        if len(ids) != 1 or self.decode(ids) != symbol:
            raise InputError(missing_symbols([symbol]))
        return ids[0]

    def has_symbol(self, symbol: str) -> bool:
        """Whether a symbol is a single id, wherever it stands in a text."""
        return self.backend.token_to_id(symbol) is not None and self._ids(symbol) == [self.backend.token_to_id(symbol)]

    def check_symbols(self, chat: ChatFormat) -> None:
        """Make sure that a chat format's symbols are single ids. Raises InputError listing those that are not.

        Nor may they take the white space beside them: what is lost would depend on where a text is cut into pieces.
        """
        missing = [symbol for symbol in chat.single_ids() if not self.has_symbol(symbol)]
        if missing:
            raise InputError(missing_symbols(missing))
        added = self.backend.get_added_tokens_decoder().values()
        greedy = {token.content for token in added if token.lstrip or token.rstrip} & set(chat.single_ids())
        if greedy:
            raise InputError(
                f"{JSON_FILE}: {', '.join(sorted(greedy))} take the white space beside them (lstrip, rstrip), so "
                "pieces of a conversation can't be encoded one by one; take a tokenizer whose symbols don't"
            )

    @cached_property
    def _size(self) -> int:
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def _unknown(self) -> int | None:
        unknown = getattr(self.backend.model, "unk_token", None)
        return None if unknown is None else self.backend.token_to_id(unknown)

    def _ids(self, text: str) -> list[int]:
        with _failures("can't encode a text"):
            return self.backend.encode(text, add_special_tokens=False).ids

    def _decode(self, ids: list[int], keep_special: bool, lenient: bool) -> str:
        if not lenient:
            wrong = [token for token in ids if not self._stands_for_text(token)]
            if wrong:
                raise InputError(f"token id {wrong[0]} is outside the vocabulary of {self.vocabulary_size} ids")
            return self.backend.decode(ids, skip_special_tokens=not keep_special)
        texts: list[str] = []
        for known, run in groupby(ids, self._stands_for_text):
            several = list(run)
            skipped = not keep_special
            texts.append(self.backend.decode(several, skipped) if known else _REPLACEMENT * len(several))
        return "".join(texts)

    def _stands_for_text(self, token: int) -> bool:
        return 0 <= token < self.vocabulary_size and self.backend.id_to_token(token) is not None


@contextmanager
def _panics_unprinted() -> Iterator[None]:
    """Keeps the library's own words about its panics from the terminal: they go past Python, to descriptor 2.

    What else is printed meanwhile follows afterwards, unless an error is raised, which says enough.
    """
    with _DESCRIPTOR, tempfile.TemporaryFile() as held:
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.truncate(0)
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if held.seek(0, os.SEEK_END):
                held.seek(0)
                os.write(2, held.read())


@contextmanager
def _failures(doing: str) -> Iterator[None]:
    """Turns whatever the library raises into InputError; its panics are no Exceptions."""
    try:
        yield
    except (InputError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise InputError(f"the tokenizers library {doing}: {error}; take {JSON_FILE} anew") from None


def symbol_named(config: dict[str, Any], name: str) -> str | None:
    """A symbol of ``tokenizer_config.json``: a text, or a record with one in ``content``. InputError for others."""
    value = config.get(name)
    if isinstance(value, dict):
        value = value.get("content")
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"{CONFIG_FILE}: {name} is {value!r:.60}; it must be a text")


def named_ends(config: str, generation: str) -> tuple[int | str, ...]:
    """The ends of a text by the files beside a vocabulary: the ids of one file, or else the symbol of the other.

    Raises InputError for ends that are no ids.
    """
    ends = read_record(generation, GENERATION_FILE).get("eos_token_id")
    if ends in (None, []):
        symbol = symbol_named(read_record(config, CONFIG_FILE), "eos_token")
        return () if symbol is None else (symbol,)
    listed = ends if isinstance(ends, list) else [ends]
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in listed):
        raise InputError(
            f"{GENERATION_FILE} or config.json: eos_token_id is {ends!r:.60}; it must be an id or a list of ids"
        )
    return tuple(listed)


def check_ids(named: Iterable[int], vocabulary_size: int) -> None:
    """Raises InputError for padding and ends that the vocabulary lacks."""
    wrong = [token for token in named if not 0 <= token < vocabulary_size]
    if wrong:
        raise InputError(
            f"{GENERATION_FILE} or config.json: id {wrong[0]} is outside the vocabulary of {vocabulary_size}"
        )


def check_description(description: dict[str, Any]) -> None:
    """What a ``tokenizer.json`` must have before the library sees it. Raises InputError that names the field."""
    model = description.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list) or not model["vocab"]:
        raise InputError(f"{JSON_FILE} has no model with a vocab; take the file anew")
    if model.get("dropout"):
        raise InputError(f"{JSON_FILE}: its model has dropout, so that ids would be drawn by chance; set it to null")
    for step in ("normalizer", "decoder"):
        growth = longest_growth(description.get(step))
        if growth > _LARGEST_GROWTH:
            raise InputError(
                f"{JSON_FILE}: its {step} may make a text {growth:.0e} times as long; at most {_LARGEST_GROWTH} is "
                "read, take another tokenizer"
            )
    added = description.get("added_tokens") or []
    if not isinstance(added, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("content"), str) for entry in added
    ):
        raise InputError(f"{JSON_FILE}: added_tokens must be a list of records with a text as content; take it anew")
    vocab = list(model["vocab"].values()) if isinstance(model["vocab"], dict) else []
    for token in (*vocab, *(entry.get("id") for entry in added)):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < _LARGEST_ID:
            raise InputError(f"{JSON_FILE}: {token!r:.40} is no id (0 to {_LARGEST_ID - 1}); take the file anew")
    if len(set(vocab)) < len(vocab):
        raise InputError(f"{JSON_FILE}: two tokens have the same id; take the file anew")


def read_record(content: bytes | str, name: str) -> dict[str, Any]:
    """The record that a JSON file called ``name`` holds. Raises InputError for other content."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no JSON: {error}; take the file anew") from None
    if not isinstance(record, dict):
        raise InputError(f"{name} must hold a record, not {record!r:.40}; take the file anew")
    return record


def _check_backend(backend: tokenizers.Tokenizer, description: dict[str, Any]) -> None:
    """Raises InputError where the library reads a file otherwise than it is written, or loses text."""
    for entry in description.get("added_tokens") or []:
        if backend.token_to_id(entry.get("content", "")) != entry["id"]:
            raise InputError(f"{JSON_FILE}: the added symbol {entry.get('content')!r:.60} can't have id {entry['id']}")
    if "".join(backend.encode("a", add_special_tokens=False).tokens).startswith(_SPACES):
        raise InputError(f"{JSON_FILE} {_NO_PIECES}")
    backend.decode(backend.encode(_PROBE, add_special_tokens=False).ids)
    if not backend.encode("\U0010fffd", add_special_tokens=False).ids:
        raise InputError(f"{JSON_FILE} leaves out the characters that it lacks without a word; take another tokenizer")
