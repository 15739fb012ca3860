"""What everybody else knows of a tokenizer, whichever library stands behind it."""

from collections.abc import Iterable, Sequence
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
    others = (tokenizer.symbol_id(symbol) for symbol in chat.other_ends if tokenizer.has_symbol(symbol))
    return tuple(dict.fromkeys((tokenizer.symbol_id(chat.end), *others, *tokenizer.ends)))


def missing_symbols(symbols: Sequence[str]) -> str:
    """The complaint about symbols that a tokenizer doesn't hold as single ids."""
    return (
        f"the tokenizer has no single id for {', '.join(map(repr, symbols))}; "
        "train it with these symbols, or give the chat format symbols that it has"
    )
