"""Which keys a query may read, by hand."""

import jax.numpy as jnp
import numpy as np

from reasoning.kernels.attention.rule import Rule, segment_starts


def test_a_query_reads_itself_and_what_is_before_it_within_the_window():
    places = jnp.arange(4)
    assert np.asarray(Rule(1.0).allowed(places, places)).tolist() == np.tri(4, dtype=bool).tolist()
    assert np.asarray(Rule(1.0, window=2).allowed(jnp.asarray([3]), places)).tolist() == [[False, False, True, True]]


def test_each_token_knows_where_its_segment_begins():
    segments = jnp.asarray([[1, 1, 2, 2, 2, 0], [3, 3, 3, 3, 3, 3]])
    assert np.asarray(segment_starts(segments)).tolist() == [[0, 0, 2, 2, 2, 5], [0] * 6]
