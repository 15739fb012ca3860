"""What everybody else knows of a tokenizer, whichever library stands behind it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from reasoning.data.chat.format import ChatFormat


class Tokenizer(Protocol):
    """Text to token ids and back; ``load_tokenizer`` opens one, ``tokenizer_difference`` says whether two are the same.

    Ids run from 0 to ``vocabulary_size - 1``; not each need stand for text. Rows are filled up with ``pad_id``, which
    may be an id of other use (many models fill up with the id that ends a text): cut rows by their length, and never
    by looking for it. ``ends`` are the ids that end a text according to the model's own files.
    """

    @property
    def model(self) -> bytes: ...
    @property
    def vocabulary_size(self) -> int: ...
    @property
    def pad_id(self) -> int: ...
    @property
    def ends(self) -> tuple[int, ...]: ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text and nothing else; special symbols in it become their ids. Raises InputError."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, each as ``encode`` gives them."""
        ...

    def decode(self, ids: Iterable[int], keep_special: bool = True) -> str:
        """The text of some ids. Raises InputError for an id that stands for nothing."""
        ...

    def decode_batch(
        self, rows: Iterable[Iterable[int]], keep_special: bool = True, lenient: bool = False
    ) -> list[str]:
        """The texts of many rows; where ``lenient``, an id that stands for nothing reads as an unknown character."""
        ...

    def symbol_id(self, symbol: str) -> int:
        """The one id of a symbol. Raises InputError where it is no single id."""
        ...

    def has_symbol(self, symbol: str) -> bool:
        """Whether a symbol is a single id, wherever it stands in a text."""
        ...

    def check_symbols(self, chat: ChatFormat) -> None:
        """Raises InputError that lists the symbols of a chat format which must be single ids and aren't."""
        ...

    def save(self, folder: Path) -> None:
        """Writes into a folder what ``load_tokenizer`` reads."""
        ...


def end_ids(tokenizer: Tokenizer, chat: ChatFormat) -> tuple[int, ...]:
    """The ids that end a reply, each once: the chat format's end first, then other ends that the tokenizer knows.

    Raises InputError where the chat format's own end is no single id.
    """
    return tuple(dict.fromkeys((*map(tokenizer.symbol_id, _end_symbols(tokenizer, chat)), *tokenizer.ends)))


def stop_ids(tokenizer: Tokenizer, chat: ChatFormat) -> tuple[int, ...]:
    """The ids at which a reply is stopped: ``end_ids``, then every id whose text holds an end that is plain text.

    With a line's end as the end, that are those of empty lines, of a full stop and a line's end, and so on. An end that
    is spread over several ids is in none of them: the reply runs on, and is cut when it is read (``text_ends``).
    """
    ends = text_ends(tokenizer, chat)
    holding = ids_with(tokenizer, ends) if ends else ()
    return tuple(dict.fromkeys((*end_ids(tokenizer, chat), *holding)))


def text_ends(tokenizer: Tokenizer, chat: ChatFormat) -> tuple[str, ...]:
    """The ends of a reply that are plain text, such as a line's end: not symbols that only the format may write."""
    symbols = _end_symbols(tokenizer, chat)
    plain = tokenizer.decode_batch([[tokenizer.symbol_id(symbol)] for symbol in symbols], keep_special=False)
    return tuple(symbol for symbol, text in zip(symbols, plain, strict=True) if text)


def _end_symbols(tokenizer: Tokenizer, chat: ChatFormat) -> tuple[str, ...]:
    """The chat format's end, and those of its other ends that the tokenizer knows."""
    return (chat.end, *filter(tokenizer.has_symbol, chat.other_ends))


@lru_cache(8)  # tens of thousands of ids, the same ones for every batch of replies
def ids_with(tokenizer: Tokenizer, texts: tuple[str, ...]) -> tuple[int, ...]:
    """The ids in whose text one of ``texts`` occurs; ids that stand for no text are in none."""
    pieces = tokenizer.decode_batch([[token] for token in range(tokenizer.vocabulary_size)], False, lenient=True)
    return tuple(token for token, piece in enumerate(pieces) if any(text in piece for text in texts))


def missing_symbols(symbols: Sequence[str]) -> str:
    """The complaint about symbols that a tokenizer doesn't hold as single ids."""
    return (
        f"the tokenizer has no single id for {', '.join(map(repr, symbols))}; "
        "train it with these symbols, or give the chat format symbols that it has"
    )
