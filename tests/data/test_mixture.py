from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.mixture import Mixture, MixtureTally, interleave

SOURCES = st.lists(
    st.tuples(st.sampled_from([0.1, 0.25, 0.3, 1.0, 2.5]), st.lists(st.integers(1, 9), min_size=1, max_size=25)),
    min_size=1,
    max_size=4,
)


def mixed(mixture, lengths):
    tally = MixtureTally()
    sizes = [len(each) for each in lengths]
    order = list(interleave(mixture, sizes, lambda source, number: lengths[source][number], tally))
    return order, tally


@given(SOURCES, st.sampled_from([1.0, 1.5, 3.0]))
@settings(max_examples=150)
def test_every_prefix_holds_each_sources_share_of_the_tokens_to_one_document(sources, epochs):
    shares, lengths = zip(*sources, strict=True)
    order, tally = mixed(Mixture(shares=shares, epochs=(epochs,) * len(shares)), lengths)
    longest = max(map(max, lengths))
    given_tokens = [0.0] * len(shares)
    for source, number in order:
        given_tokens[source] += lengths[source][number]
        for place, share in enumerate(shares):
            expected = share / sum(shares) * sum(given_tokens)
            assert given_tokens[place] - expected <= longest + 1e-9
            assert expected - given_tokens[place] <= (len(shares) - 1) * longest + 1e-9
    assert tally.tokens == given_tokens and len(tally.dry) == 1


@given(SOURCES, st.integers(1, 60), st.sampled_from([0.4, 1.0, 2.5]))
@settings(max_examples=100)
def test_each_source_is_read_in_its_order_and_no_more_often_than_its_epochs(sources, tokens, epochs):
    shares, lengths = zip(*sources, strict=True)
    order, tally = mixed(Mixture(shares=shares, epochs=(epochs,) * len(shares), tokens=tokens), lengths)
    for place, each in enumerate(lengths):
        mine = [number for source, number in order if source == place]
        assert mine == [count % len(each) for count in range(len(mine))]
        assert len(mine) <= max(1, epochs * len(each)) and len(mine) == tally.documents[place]
    total = sum(tally.tokens)
    if len(tally.dry) < len(shares):
        last = lengths[order[-1][0]][order[-1][1]]
        assert tokens <= total < tokens + last


def test_the_source_furthest_behind_gives_next():
    order, _ = mixed(Mixture(shares=(0.75, 0.25)), [[1] * 6, [1] * 9])
    assert [source for source, _ in order] == [0, 1, 0, 0, 0, 1, 0, 0]


def test_a_source_that_runs_dry_says_when_and_the_others_go_on():
    order, tally = mixed(Mixture(shares=(0.5, 0.25, 0.25), tokens=40), [[2, 2], [1] * 99, [1] * 99])
    assert tally.dry == {0: 8} and sum(tally.tokens) == 40
    assert tally.tokens[0] == 4 and abs(tally.tokens[1] - tally.tokens[2]) <= 1
    assert tally.results([2, 99, 99])["mixture/0/share"] == 0.1
    _, short = mixed(Mixture(shares=(1.0,), epochs=(2.0,), tokens=40), [[3, 4]])
    assert short.tokens == [14] and short.results([2])["mixture/0/epochs"] == 2.0


def test_the_beginning_of_a_mixture_needs_only_the_lengths_of_its_beginning():
    asked: list[tuple[int, int]] = []

    def length(source: int, number: int) -> int:
        asked.append((source, number))
        return 1

    mixture = Mixture(shares=(1.0, 1.0))
    assert len(list(islice(interleave(mixture, (10**9, 10**9), length, MixtureTally()), 5))) == len(asked) == 5


def test_shares_and_epochs_that_do_not_match_are_refused():
    with pytest.raises(InputError, match="needs shares"):
        Mixture(shares=())
    with pytest.raises(InputError, match="2 shares has 1 epochs"):
        Mixture(shares=(1.0, 1.0), epochs=(1.0,))
    with pytest.raises(InputError, match="1 shares was given 2 sources"):
        list(interleave(Mixture(shares=(1.0,)), (1, 1), lambda source, number: 1, MixtureTally()))
