"""Replies that can say nothing but what a pattern allows: one of several labels, a JSON object of a schema.

A pattern becomes an automaton over characters, and over a vocabulary a table: to which state each token leads from
each state, or that it mustn't be said there (Willard and Louf, arXiv 2307.09702, section 3). What may be said next is
then a row of that table, and the next state an entry of it, so that decoding asks nothing of the host.

Shapes: S states, C classes of characters, V tokens, N characters of a token.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer, end_ids, text_ends

NEVER = -1
"""Where a token leads that mustn't be said."""

_UNKNOWN = "\ufffd"
"""What a token reads as that is a part of a character: it is said only where anything may be."""

_CONTROLS = "".join(map(chr, range(32)))
_DIGITS = "0123456789"


@dataclass(frozen=True)
class Character:
    """One character: any of ``these``, or where ``others``, any but these."""

    these: str
    others: bool = False


@dataclass(frozen=True)
class Text:
    """These very characters; there may be none."""

    text: str


@dataclass(frozen=True)
class Joined:
    """Patterns one behind the other."""

    parts: tuple["Pattern", ...]


@dataclass(frozen=True)
class AnyOf:
    """One of several patterns."""

    parts: tuple["Pattern", ...]


@dataclass(frozen=True)
class Repeated:
    """A pattern any number of times, or not at all."""

    part: "Pattern"


Pattern = Character | Text | Joined | AnyOf | Repeated
"""What a reply may be; a regular language without any look ahead."""


def one_of(texts: Sequence[str]) -> Pattern:
    """One of these texts."""
    return AnyOf(tuple(map(Text, texts)))


def json_object(schema: Mapping[str, str]) -> Pattern:
    """The JSON object of all fields of a schema, in its order, with or without a space behind commas and colons.

    A value is of its field's type (those of ``tasks.extraction``), or null. No number has an exponent, and in strings
    nothing is escaped that needn't be.
    """
    space = AnyOf((Text(" "), Text("")))
    parts: list[Pattern] = []
    for name, kind in schema.items():
        before: tuple[Pattern, ...] = (Text(","), space) if parts else ()
        parts += [
            *before,
            Text(json.dumps(name, ensure_ascii=False) + ":"),
            space,
            AnyOf((_VALUES[kind], Text("null"))),
        ]
    return Joined((Text("{"), *parts, Text("}")))


_WHOLE = Joined((
    AnyOf((Text("-"), Text(""))),
    AnyOf((Text("0"), Joined((Character(_DIGITS[1:]), Repeated(Character(_DIGITS)))))),
))  # fmt: skip
_DECIMALS = Joined((Text("."), Character(_DIGITS), Repeated(Character(_DIGITS))))
_WRITTEN = AnyOf((Character('"\\' + _CONTROLS, others=True), Joined((Text("\\"), Character('"\\/bfnrt')))))
_VALUES: Mapping[str, Pattern] = {
    "string": Joined((Text('"'), Repeated(_WRITTEN), Text('"'))),
    "integer": _WHOLE,
    "number": Joined((_WHOLE, AnyOf((_DECIMALS, Text(""))))),
    "boolean": one_of(("true", "false")),
}


@dataclass(frozen=True, eq=False)
class TokenTable:
    """From each state (a reply begins in 0) to that behind each token, ``NEVER`` for one that mustn't be said there."""

    next_SV: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class _Automaton:
    """States over classes of characters: 0 is all that no pattern names, the others are one character each.

    ``free`` states come first, in which anything is said; in ``whole`` ones a reply may end, in the last it has.
    """

    classes: Mapping[str, int]
    next_SC: np.ndarray
    free: int
    whole_S: np.ndarray


_Edges = list[list[tuple[Character | None, int]]]
"""By state: what is read on the way to another one; None: nothing."""


def _wire(pattern: Pattern, begin: int, edges: _Edges) -> int:
    """Adds a pattern's states behind ``begin``, and gives the one in which it is whole (Thompson's construction)."""

    def state() -> int:
        edges.append([])
        return len(edges) - 1

    if isinstance(pattern, Character):
        end = state()
        edges[begin].append((pattern, end))
        return end
    if isinstance(pattern, AnyOf):
        end = state()
        for part in pattern.parts:
            edges[_wire(part, begin, edges)].append((None, end))
        return end
    if isinstance(pattern, Repeated):
        loop = state()
        edges[begin].append((None, loop))
        edges[_wire(pattern.part, loop, edges)].append((None, loop))
        return loop
    for part in map(Character, pattern.text) if isinstance(pattern, Text) else pattern.parts:
        begin = _wire(part, begin, edges)
    return begin


def _reached(states: Sequence[int], edges: _Edges) -> frozenset[int]:
    """These states and those to which nothing need be read."""
    found, waiting = set(states), list(states)
    while waiting:
        silent = {to for read, to in edges[waiting.pop()] if read is None} - found
        found |= silent
        waiting += silent
    return frozenset(found)


def _automaton(pattern: Pattern, ends: Sequence[str], after: str) -> _Automaton:
    """The automaton of anything up to the first ``after``, then ``pattern``, then one of ``ends``, if there are any."""
    edges: _Edges = [[]]
    whole = _wire(pattern, 0, edges)
    over = _wire(one_of(ends), whole, edges) if ends else -1
    named = {character for out in edges for read, _ in out if read for character in read.these} | set(after)
    symbols = [None, *sorted(named)]
    sets, rows = [_reached([0], edges)], []
    for states in sets:  # grows while it is read
        row = []
        for symbol in symbols:
            behind = [
                to
                for state in states
                for read, to in edges[state]
                if read and (read.others if symbol is None else (symbol in read.these) != read.others)
            ]
            reached = _reached(behind, edges)
            if reached and reached not in sets:
                sets.append(reached)
            row.append(sets.index(reached) if reached else NEVER)
        rows.append(row)
    free, last = len(after), len(after) + len(rows)
    next_SC = np.full((last + 1, len(symbols)), last, np.int32)
    next_SC[:free] = _searching(after, symbols)
    body_SC = np.array(rows)
    place_S = np.array([last if over in states else free + number for number, states in enumerate(sets)])
    next_SC[free:last] = np.where(body_SC == NEVER, NEVER, place_S[body_SC])
    whole_S = np.array([*[True] * free, *[whole in states for states in sets], True])
    return _Automaton({symbol: number for number, symbol in enumerate(symbols) if symbol}, next_SC, free, whole_S)


def _searching(text: str, symbols: Sequence[str | None]) -> np.ndarray:
    """How much of ``text`` is said after each symbol, where so much of it was said before (Knuth, Morris and Pratt)."""
    said_SC = np.zeros((len(text), len(symbols)), np.int32)
    for state in range(len(text)):
        for number, symbol in enumerate(symbols):
            now = text[:state] + (symbol or _UNKNOWN)
            said_SC[state, number] = max(length for length in range(state + 2) if now.endswith(text[:length]))
    return said_SC


@lru_cache(32)
def token_table(tokenizer: Tokenizer, chat: ChatFormat, pattern: Pattern, after: str = "") -> TokenTable:
    """The table of replies that are ``pattern`` and then end; with ``after`` anything is said before its first place.

    Symbols of the chat format, and tokens that are a part of a character, are said in that part alone. Raises
    InputError where the vocabulary can't spell any such reply.
    """
    # An end that is plain text may be a part of a token that says something before it, such as `}` and a line's end.
    plain_ends = [end for end in text_ends(tokenizer, chat) if end not in _symbols(chat)]
    automaton = _automaton(pattern, plain_ends, after)
    texts, unsayable_V = _token_texts(tokenizer, chat)
    states, free = len(automaton.next_SC), automaton.free
    next_SV = _walked(automaton, texts)
    next_SV[free : states - 1, unsayable_V] = NEVER
    next_SV[np.ix_(automaton.whole_S, np.array(end_ids(tokenizer, chat)))] = states - 1
    leads_SS = np.zeros((states, states + 1), bool)
    for state in range(states):
        leads_SS[state, next_SV[state]] = True
    ends_S = np.arange(states) == states - 1
    while (more_S := ends_S | (leads_SS[:, :states] & ends_S).any(axis=1)).sum() > ends_S.sum():
        ends_S = more_S
    if not ends_S[0]:
        raise InputError("the tokenizer's vocabulary can't spell any reply that the pattern allows; take another one")
    return TokenTable(np.where(np.append(ends_S, False)[next_SV], next_SV, NEVER).astype(np.int32))


def _walked(automaton: _Automaton, texts: Sequence[str]) -> np.ndarray:
    """Where each text leads from each state; one without characters leads nowhere."""
    length_V = np.array(list(map(len, texts)))
    class_VN = np.zeros((len(texts), length_V.max()), np.int32)
    for token, text in enumerate(texts):
        class_VN[token, : len(text)] = [automaton.classes.get(character, 0) for character in text]
    states = len(automaton.next_SC)
    # One state more, of which there is no way out: NEVER is its number from behind.
    next_SC = np.vstack([automaton.next_SC, np.full(automaton.next_SC.shape[1], NEVER)])
    next_SV = np.repeat(np.arange(states)[:, None], len(texts), axis=1)
    for place in range(class_VN.shape[1]):
        longer = np.flatnonzero(length_V > place)
        next_SV[:, longer] = next_SC[next_SV[:, longer], class_VN[longer, place]]
    next_SV[:, length_V == 0] = NEVER
    return next_SV


@lru_cache(8)  # tens of thousands of tokens, the same ones for every pattern
def _token_texts(tokenizer: Tokenizer, chat: ChatFormat) -> tuple[list[str], np.ndarray]:
    """What each token spells inside a text, and whether no pattern's part of a reply may hold it."""
    tokens = [[token] for token in range(tokenizer.vocabulary_size)]
    alone, plain = (tokenizer.decode_batch(tokens, kept, lenient=True) for kept in (True, False))
    # Some vocabularies leave the space out that begins a text, so tokens are read behind another one.
    first = next((token for token, text in enumerate(alone) if len(text) == 1 and text.isalnum()), None)
    texts = alone
    if first is not None:
        behind = tokenizer.decode_batch([[first, *token] for token in tokens], True, lenient=True)
        texts = [text.removeprefix(alone[first]) for text in behind]
    symbols = {tokenizer.symbol_id(symbol) for symbol in _symbols(chat) if tokenizer.has_symbol(symbol)}
    unsayable = [
        token in symbols or bool(text and not shown) or _UNKNOWN in text
        for token, (text, shown) in enumerate(zip(texts, plain, strict=True))
    ]
    return texts, np.array(unsayable)


def _symbols(chat: ChatFormat) -> tuple[str, ...]:
    """The symbols that open and close turns and texts, single ids all."""
    return chat.marks or chat.structure()
