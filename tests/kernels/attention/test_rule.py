"""Which keys a query may read, by hand."""

import jax.numpy as jnp
import numpy as np

from reasoning.kernels.attention.rule import Rule, segment_starts


def test_a_query_reads_itself_and_what_is_before_it_within_the_window():
    places = jnp.arange(4)
    assert np.asarray(Rule(1.0).allowed(places, places)).tolist() == np.tri(4, dtype=bool).tolist()
    assert np.asarray(Rule(1.0, window=2).allowed(jnp.asarray([3]), places)).tolist() == [[False, False, True, True]]


def test_what_is_shared_is_read_by_every_segment_but_its_padding_is_not():
    segments = jnp.asarray([[0, 1, 2, 2, 3]])
    alone, shared = Rule(1.0), Rule(1.0, shared=2)
    same = np.asarray(segments)[0][:, None] == np.asarray(segments)[0]
    assert np.asarray(alone.together(segments, segments, jnp.arange(5)))[0].tolist() == same.tolist()
    same[:, 1] = True
    assert np.asarray(shared.together(segments, segments, jnp.arange(5)))[0].tolist() == same.tolist()
    assert np.asarray(Rule(1.0).allowed(jnp.asarray([[3]]), jnp.asarray([[2, 4]]))).tolist() == [[[True, False]]]


def test_each_token_knows_where_its_segment_begins():
    segments = jnp.asarray([[1, 1, 2, 2, 2, 0], [3, 3, 3, 3, 3, 3]])
    assert np.asarray(segment_starts(segments)).tolist() == [[0, 0, 2, 2, 2, 5], [0] * 6]
