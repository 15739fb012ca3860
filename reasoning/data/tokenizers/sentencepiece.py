"""Text to token ids and back with sentencepiece: each chat symbol is one id, and text survives the round trip."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import sentencepiece

from reasoning.core.errors import InputError
from reasoning.core.files import write_atomic
from reasoning.core.signals import beside
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import missing_symbols
from reasoning.data.tokenizers.tokenizer_json import (
    CONFIG_FILE,
    GENERATION_FILE,
    check_ids,
    named_ends,
    read_record,
    symbol_named,
)

SENTENCEPIECE_FILE = "tokenizer.model"

_PAD_ID = 0
_UNKNOWN_ID = 1

SPACE_MARK = "\u2581"
"""The character that sentencepiece writes for a space: in a text it would be read as a space."""

VocabularyKind = Literal["bpe", "unigram", "char"]


@dataclass(frozen=True)
class SentencePieceTokenizer:
    """A vocabulary of sentencepiece; ``model`` is the content of its file.

    ``special`` names the symbols that ``decode(…, keep_special=False)`` leaves out, as a rule ``ChatFormat.symbols()``.
    Control symbols of the model (``<bos>``) count as special too, and are written in texts like any other symbol,
    except the padding, which stands for no text. ``config`` and ``generation`` are as in ``JsonTokenizer``.
    Raises InputError where the bytes are no sentencepiece model, for one that puts a space before each text, since then
    the pieces of a conversation can't be encoded one by one, and for padding and ends that the vocabulary lacks.
    """

    model: bytes = field(repr=False)
    special: tuple[str, ...] = ()
    config: str = field(default="{}", repr=False)
    generation: str = field(default="{}", repr=False)

    def __post_init__(self) -> None:
        if self.processor.unk_id() < 0:
            raise InputError("the sentencepiece model has no unknown id; train one with train_tokenizer")
        if self.processor.encode("a", out_type=str)[0].startswith(SPACE_MARK):
            raise InputError(
                "the sentencepiece model puts a space before each text (add_dummy_prefix), so pieces of a conversation "
                "can't be encoded one by one; take a model without it"
            )
        check_ids((self.pad_id, *self.ends), self.vocabulary_size)

    @cached_property
    def processor(self) -> sentencepiece.SentencePieceProcessor:
        """Sentencepiece's own view of the model."""
        try:
            return sentencepiece.SentencePieceProcessor(model_proto=self.model)
        except RuntimeError:
            raise InputError("the bytes are no sentencepiece model; train one with train_tokenizer") from None

    @cached_property
    def controls(self) -> dict[str, int]:
        """The ids of the control symbols, which sentencepiece itself doesn't look for in texts; padding left out."""
        ids = (token for token in range(self.vocabulary_size) if self.processor.is_control(token))
        return {self.processor.id_to_piece(token): token for token in ids if token != self.processor.pad_id()}

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, padding and unknown included."""
        return self.processor.get_piece_size()

    @property
    def pad_id(self) -> int:
        """The id that fills rows up: the padding that ``config`` names, the model's, or what ends a text, or 0."""
        symbol = symbol_named(read_record(self.config, CONFIG_FILE), "pad_token")
        padding = self.processor.pad_id() if symbol is None else self._named_id(symbol)
        return padding if padding >= 0 else (*self.ends, 0)[0]

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end a text: those of the files beside the model, or its own; ``train_tokenizer`` names none."""
        named = named_ends(self.config, self.generation)
        if named:
            return tuple(self._named_id(end) if isinstance(end, str) else end for end in named)
        return (self.processor.eos_id(),) if self.processor.eos_id() >= 0 else ()

    def save(self, folder: Path) -> None:
        """Write the model, in sentencepiece's own format, and the files beside it where they say anything."""
        write_atomic(folder / SENTENCEPIECE_FILE, self.model)
        for name, content in ((CONFIG_FILE, self.config), (GENERATION_FILE, self.generation)):
            if read_record(content, name):
                write_atomic(folder / name, content)

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Raises InputError naming the characters that the vocabulary lacks."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, much faster than one by one. Raises InputError as ``encode`` does."""
        if not self.controls:
            return self._encode_plain(texts)
        parts = [self._control_pattern.split(text) for text in texts]
        encoded = iter(self._encode_plain([part for row in parts for part in row if part not in self.controls]))
        return [
            [token for part in row for token in ([self.controls[part]] if part in self.controls else next(encoded))]
            for row in parts
        ]

    def decode(self, ids: Iterable[int], keep_special: bool = True) -> str:
        """The text of some ids, padding left out. Raises InputError for an id outside the vocabulary.

        Ids that were not encoded from text may spell broken UTF-8: each such byte becomes U+FFFD.
        """
        return self.decode_batch([ids], keep_special)[0]

    def decode_batch(
        self, rows: Iterable[Iterable[int]], keep_special: bool = True, lenient: bool = False
    ) -> list[str]:
        """The texts of many rows of ids. Raises InputError as ``decode`` does.

        Where ``lenient``, an id outside the vocabulary reads as the unknown one: models may have more rows than ids.
        """
        size, unknown = self.vocabulary_size, self.processor.unk_id()
        plain = [np.asarray(list(ids), dtype=np.int64).tolist() for ids in rows]
        if lenient:
            plain = [[token if 0 <= token < size else unknown for token in ids] for ids in plain]
        if not keep_special:
            dropped = {*self.controls.values(), *map(self.symbol_id, self.special)}
            plain = [[token for token in ids if token not in dropped] for ids in plain]
        for ids in plain:
            wrong = [token for token in ids if not 0 <= token < size]
            if wrong:
                raise InputError(f"token id {wrong[0]} is outside the vocabulary of {size} ids")
        return [self._decode_plain(ids) for ids in plain]

    def symbol_id(self, symbol: str) -> int:
        """The one id of a symbol. Raises InputError where the vocabulary has no such id."""
        self._require([symbol])
        return self.processor.piece_to_id(symbol)

    def has_symbol(self, symbol: str) -> bool:
        """Whether a symbol is a single id, wherever it stands in a text."""
        known = self.processor.piece_to_id(symbol) if symbol else self.processor.unk_id()
        if symbol in self.controls:
            return True
        return known != self.processor.unk_id() and self.processor.encode(symbol) == [known]

    def check_symbols(self, chat: ChatFormat) -> None:
        """Make sure that a chat format's symbols are single ids. Raises InputError listing those that are not."""
        self._require(chat.single_ids())

    def _named_id(self, symbol: str) -> int:
        """The id of a symbol that a file beside the model names; it may be the padding, which no text holds."""
        token = self.processor.piece_to_id(symbol)
        if self.processor.id_to_piece(token) != symbol:
            raise InputError(missing_symbols([symbol]))
        return token

    def _require(self, symbols: Sequence[str]) -> None:
        missing = [symbol for symbol in symbols if not self.has_symbol(symbol)]
        if missing:
            raise InputError(missing_symbols(missing))

    @cached_property
    def _control_pattern(self) -> re.Pattern[str]:
        return re.compile("(" + "|".join(map(re.escape, sorted(self.controls, key=len, reverse=True))) + ")")

    def _decode_plain(self, ids: list[int]) -> str:
        """Sentencepiece leaves control symbols out of texts; here they stand where they stood."""
        names = {token: symbol for symbol, token in self.controls.items()}
        texts: list[str] = []
        for control, run in groupby(ids, lambda token: token in names):
            held = list(run)
            texts.append("".join(names[token] for token in held) if control else self.processor.decode(held))
        return "".join(texts)

    def _encode_plain(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts in which no control symbol stands."""
        try:
            rows: list[list[int]] = self.processor.encode(list(texts))
        except (RuntimeError, TypeError):
            raise InputError("can only encode text that UTF-8 can write; one holds half a surrogate pair") from None
        for number, (text, ids) in enumerate(zip(texts, rows, strict=True)):
            if SPACE_MARK in text or self.processor.unk_id() in ids:
                rows[number] = self._encode_marks(text)
        return rows

    def _encode_marks(self, text: str) -> list[int]:
        """Encode a text that holds sentencepiece's space mark (spelled in bytes where the vocabulary has them)."""
        unknown = self.processor.unk_id()
        mark = [self.processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_MARK.encode()]
        ids = [token for part in text.split(SPACE_MARK) for token in (*mark, *self.processor.encode(part))][len(mark) :]
        if unknown in ids:
            lacking = set(SPACE_MARK) if SPACE_MARK in text and unknown in mark else set()
            for part in text.split(SPACE_MARK):  # Not each character alone: symbols are made of others, too.
                pieces = zip(self.processor.encode(part, out_type=str), self.processor.encode(part), strict=True)
                lacking.update(*(piece.replace(SPACE_MARK, " ") for piece, token in pieces if token == unknown))
            raise InputError(
                f"the vocabulary has no id for {', '.join(map(repr, sorted(lacking)))} in {text[:60]!r}; "
                "train the tokenizer on texts with these characters, or with byte_fallback"
            )
        return ids


def train_tokenizer(
    texts: Iterable[str],
    *,
    vocabulary_size: int,
    symbols: Sequence[str],
    extra_symbols: Sequence[str],
    kind: VocabularyKind,
    byte_fallback: bool,
) -> bytes:
    """Learn a vocabulary from texts; the same arguments give the same bytes (one thread, nothing drawn at random).

    ``symbols`` (a ``ChatFormat.symbols()``) and ``extra_symbols`` (say ``+8``) become single ids from 2 on, in this
    order; padding is 0, unknown 1. Text isn't normalised, digits stay single, every character of ``texts`` gets an id.
    With ``byte_fallback``, 256 byte ids and one for the space make any text encodable. ``vocabulary_size`` is a limit:
    a small corpus may not have that many pieces (see the tokenizer's ``vocabulary_size``).

    Raises InputError for no texts, for a limit too small (with the least possible one), for repeated, empty or spaced
    symbols, and whatever InputError the texts raise. Source: SentencePiece, arXiv 1808.06226; BPE, arXiv 1508.07909;
    unigram, arXiv 1804.10959.
    """
    wanted = [*symbols, *extra_symbols]
    _check_symbols(wanted)
    characters: set[str] = {SPACE_MARK} if byte_fallback else set()
    failures: list[InputError] = []
    model = io.BytesIO()
    train = partial(
        sentencepiece.SentencePieceTrainer.train,
        sentence_iterator=_watch(texts, wanted, characters, failures),
        model_writer=model,
        model_type=kind,
        vocab_size=vocabulary_size,
        hard_vocab_limit=False,
        user_defined_symbols=wanted,
        pad_id=_PAD_ID,
        unk_id=_UNKNOWN_ID,
        bos_id=-1,
        eos_id=-1,
        unk_surface="\ufffd",
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        byte_fallback=byte_fallback,
        required_chars=SPACE_MARK if byte_fallback else "",
        character_coverage=1.0,
        max_sentence_length=2**30,  # longer texts would be left out without a word
        num_threads=1,  # unigram scores depend on the number of threads
        minloglevel=2,
    )
    try:
        beside(train)
    except RuntimeError as error:
        if failures:
            raise failures[0] from None
        _check_size(vocabulary_size, wanted, characters, byte_fallback)
        raise InputError(f"sentencepiece can't train a {kind} vocabulary of {vocabulary_size}: {error}") from None
    _check_size(vocabulary_size, wanted, characters, byte_fallback)
    return model.getvalue()


def _check_symbols(symbols: Sequence[str]) -> None:
    wrong = [s for s in symbols if not s or any(c.isspace() or c in f"\0{SPACE_MARK}" for c in s)]
    if wrong:
        raise InputError(f"symbols must have characters and no white space; change {', '.join(map(repr, wrong))}")
    repeated = sorted({s for s in symbols if symbols.count(s) > 1})
    if repeated:
        raise InputError(f"symbols are listed twice: {', '.join(map(repr, repeated))}; list each once")


def _watch(
    texts: Iterable[str], symbols: Sequence[str], characters: set[str], failures: list[InputError]
) -> Iterator[str]:
    """Pass texts on and note every character outside the symbols: these are what the vocabulary must hold.

    An InputError of the texts is noted too: sentencepiece makes an internal error of it, with a traceback for a text.
    """
    longest_first = sorted(symbols, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
    try:
        for text in texts:
            characters.update(pattern.sub("", text).replace(" ", SPACE_MARK))
            yield text
    except InputError as error:
        failures.append(error)
        raise


def _check_size(size: int, symbols: Sequence[str], characters: set[str], byte_fallback: bool) -> None:
    if not characters - {SPACE_MARK}:
        raise InputError("there are no texts to train a tokenizer on; give at least one text with a character")
    least = 2 + len(symbols) + 256 * byte_fallback + len(characters)
    if size < least:
        raise InputError(
            f"vocabulary_size {size} is too small: padding and unknown, {len(symbols)} symbols, {len(characters)} "
            f"characters{' and 256 bytes' if byte_fallback else ''} need at least {least}"
        )
