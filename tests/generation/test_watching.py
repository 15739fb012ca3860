"""Looking at completions while they are written, and ending them at what they say."""

from typing import Any

import jax
import numpy as np
import pytest
from counting_model import END, counting_model

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.watching import GO_ON, Watch, Writing, stop_strings

MODEL = counting_model([])
LENGTHS = [5, 30, 1, 32, 9, 2]


def asked(watch: Watch | None) -> Rollouts:
    """Prompts that are answered by so many tokens, which count down to 0."""
    engine = build_engine(MODEL, build_mesh(MeshShape(), jax.devices()[:1]), SamplerSettings(2, 40, (END,), slots=4))
    return engine.generate({}, [[length] for length in LENGTHS], range(6), jax.random.key(0), 0.0, watch=watch)


def test_a_look_that_ends_nothing_changes_nothing_and_sees_completions_grow():
    seen: dict[tuple[int, int], list[int]] = {}

    def look(writing: Writing) -> list[int]:
        for prompt, sample, tokens in zip(writing.prompts, writing.samples, writing.tokens, strict=True):
            before = seen.setdefault((int(prompt), int(sample)), [])
            assert list(tokens[: len(before)]) == before and len(tokens) <= LENGTHS[prompt]
            seen[int(prompt), int(sample)] = list(tokens)
        return [GO_ON] * len(writing.tokens)

    watched, alone = asked(Watch(look, every=3)), asked(None)
    for name in Rollouts.names():
        np.testing.assert_array_equal(getattr(watched, name), getattr(alone, name))
    assert {key: len(tokens) for key, tokens in seen.items()} == {
        (prompt, sample): length for prompt, length in enumerate(LENGTHS) for sample in (0, 1)
    }


class Letters:
    """A tokenizer with one letter a token."""

    def decode(self, ids: Any, *, keep_special: bool = True) -> str:
        return "".join(chr(ord("A") + number) for number in ids)


def test_a_stop_string_ends_a_completion_with_its_last_token_whenever_it_is_looked_at():
    tokenizer: Any = Letters()
    for every in (1, 7, 100):
        found = asked(Watch(stop_strings(tokenizer, ("NM", "DC")), every))
        # From 29 or 31 down to M = 12, from 8 or 4 down to C = 2; those that begin below say neither.
        assert found.lengths.tolist() == [[3, 3], [18, 18], [1, 1], [20, 20], [7, 7], [2, 2]]
        assert not found.truncated.any()
        assert found.tokens[1, 0, :19].tolist() == [*range(29, 11, -1), 0]


def test_what_is_no_look_or_no_stop_string_is_refused():
    with pytest.raises(InputError, match="it must give one number of tokens a completion"):
        asked(Watch(lambda writing: [99] * len(writing.tokens)))
    with pytest.raises(InputError, match="a stop string is empty"):
        tokenizer: Any = Letters()
        stop_strings(tokenizer, ("",))
