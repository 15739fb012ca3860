"""Finds arrays that pair the vocabulary with many tokens, in a traced or compiled program.

Logits of all tokens are the array that makes training run out of memory, and a fused loss can hide one. The program
itself says what it makes: this reads the shapes in it.
"""

import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from jax.extend import core as jax_core

from reasoning.core.errors import InputError

Shape = tuple[int, ...]
Program = str | jax_core.Jaxpr | jax_core.ClosedJaxpr | None

_HLO_SHAPE = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[((?:<=)?\d+(?:,(?:<=)?\d+)*)\]")
_STABLEHLO_SHAPE = re.compile(r"\btensor<((?:\d+x)+)([a-z]+\d*[A-Za-z0-9]*)")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT\s+)?%?([\w.\-]+)(?::\d+)?\s*=\s")


def arrays_pairing(
    program: Program,
    vocabulary: int,
    tokens: int,
    share: float = 0.25,
    weights: Collection[Shape] = (),
) -> list[str]:
    """The arrays in a program that hold the vocabulary for more than ``share`` of the tokens, one line each.

    ``program`` is a jaxpr (nested ones are walked) or the text of ``compiled.as_text()`` or ``lowered.as_text()``.
    ``vocabulary`` and ``tokens`` are one device's parts, as are the shapes in a compiled text and inside a shard_map.
    An array counts if one of its dimensions is the vocabulary or a multiple of it (tokens flattened into it); what
    remains of its size is the tokens that it pairs. ``weights`` are shapes of parameters, which pair the vocabulary
    with the model's width: arrays of such dimensions, in any order, are left out.

    Shapes are all there is to see, so pick a batch whose sizes differ from the model's. Raises InputError where a
    parameter's shape could be that of the logits, for a vocabulary or token count below 1, and for no program at all
    (``as_text()`` returns None where a backend has none).
    """
    if vocabulary < 1 or tokens < 1:
        raise InputError(f"vocabulary {vocabulary} and tokens {tokens} must be at least 1")
    known = {_ordered(shape) for shape in weights}
    if _ordered((tokens, vocabulary)) in known:
        raise InputError(
            f"a parameter of shape {(tokens, vocabulary)} looks like the logits of {tokens} tokens: "
            "check with a batch whose token count differs from the model's width"
        )
    seen: dict[tuple[str, Shape], str] = {}
    for kind, shape, place in _arrays(program):
        seen.setdefault((kind, shape), place)
    pairing = []
    for (kind, shape), place in seen.items():
        paired = math.prod(shape) // vocabulary
        if any(size and size % vocabulary == 0 for size in shape) and paired > share * tokens:
            if _ordered(shape) not in known:
                sizes = ",".join(map(str, shape))
                pairing.append(
                    f"{kind}[{sizes}] at {place}: the vocabulary of {vocabulary} for {paired} of {tokens} tokens"
                )
    return pairing


def _ordered(shape: Shape) -> Shape:
    return tuple(sorted(size for size in shape if size != 1))


def _arrays(program: Program) -> Iterator[tuple[str, Shape, str]]:
    """Every array of a program: its type, its shape, and the instruction that names it first."""
    if isinstance(program, str):
        return _arrays_of_text(program)
    if isinstance(program, jax_core.ClosedJaxpr):
        return _arrays_of_jaxpr(program.jaxpr)
    if isinstance(program, jax_core.Jaxpr):
        return _arrays_of_jaxpr(program)
    raise InputError(f"a program is a jaxpr or the text of a lowered or compiled one, not {type(program).__name__}")


def _arrays_of_text(text: str) -> Iterator[tuple[str, Shape, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        instruction = _INSTRUCTION.match(line)
        place = instruction[1] if instruction else f"line {number}"
        for kind, sizes in _HLO_SHAPE.findall(line):
            yield kind, tuple(int(size.removeprefix("<=")) for size in sizes.split(",")), place
        for sizes, kind in _STABLEHLO_SHAPE.findall(line):
            yield kind, tuple(int(size) for size in sizes.split("x") if size), place


def _arrays_of_jaxpr(jaxpr: jax_core.Jaxpr) -> Iterator[tuple[str, Shape, str]]:
    yield from _described([*jaxpr.invars, *jaxpr.constvars], "an input")
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            for inner in _jaxprs_in(value):
                yield from _arrays_of_jaxpr(inner)
        yield from _described(equation.outvars, equation.primitive.name)


def _described(variables: list, place: str) -> Iterator[tuple[str, Shape, str]]:
    for variable in variables:
        shape = getattr(variable.aval, "shape", None)
        if shape is not None:
            yield str(variable.aval.dtype), tuple(shape), place


def _jaxprs_in(value: Any) -> Iterator[jax_core.Jaxpr]:
    if isinstance(value, jax_core.ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, jax_core.Jaxpr):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _jaxprs_in(item)
