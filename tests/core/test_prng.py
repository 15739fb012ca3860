import zlib

import jax
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.prng import stage_key, step_key


def words(key):
    return np.asarray(jax.random.key_data(key)).tolist()


def test_keys_follow_the_written_rule():
    rule = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), zlib.crc32(b"zero")), 12)
    assert words(step_key(stage_key(7, "zero"), 12)) == words(rule)


def test_keys_are_pinned_forever():
    # A change here would change the numbers of every experiment ever run.
    assert words(step_key(stage_key(0, "base"), 1)) == [4013226032, 2685406240]


def test_seeds_stages_and_steps_have_streams_of_their_own():
    keys = [
        words(step_key(stage_key(seed, name), step))
        for seed in (0, 1, 2**32 - 1)
        for name in ("zero", "zerO", "")
        for step in range(3)
    ]
    assert len({tuple(key) for key in keys}) == len(keys)


def test_a_traced_step_gives_the_same_key():
    key = stage_key(1, "zero")
    assert words(jax.jit(step_key)(key, 5)) == words(step_key(key, 5))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_would_alias_another_is_refused(seed):
    with pytest.raises(InputError, match=f"seed {seed} is out of range"):
        stage_key(seed, "zero")
