from itertools import islice

import numpy as np
import pytest
from tiny_stages import CORPUS

from reasoning.data.chat.format import ChatFormat
from reasoning.data.corpus import open_corpus
from reasoning.data.mixture import Mixture, MixtureTally
from reasoning.data.sources import Generated, mix

CHAT = ChatFormat()


def write(seed, index, chat):
    return chat.plain("+1" * (1 + (seed + index) % 5))


def write_long(seed, index, chat):
    return chat.plain("-2" * (3 + index % 7))


SOURCES = (Generated(write, count=40), Generated(write_long, count=30))


@pytest.fixture(scope="module")
def tokenizer():
    return CORPUS.tokenizer_at_hand()


def test_without_a_mixture_documents_are_mixed_by_their_weights(tokenizer):
    sources = (SOURCES[0], Generated(write_long, count=30, weight=2.0))
    corpus = open_corpus(sources, None, CHAT, 3)
    expected = list(mix(sources, CHAT, 3))
    assert list(corpus.documents([], MixtureTally())) == expected and corpus.count() == len(expected) == 100
    assert list(corpus.stream(tokenizer)) == list(corpus.sample()) == expected


def test_a_mixture_by_counted_tokens_is_the_one_that_counts_as_it_goes(tokenizer):
    mixture = Mixture(shares=(0.25, 0.75), epochs=(1.0, 2.5))
    corpus = open_corpus(SOURCES, mixture, CHAT, 0)
    lengths = [np.array([len(tokenizer.encode(document.text())) for document in part]) for part in corpus.parts]
    tally = MixtureTally()
    documents = corpus.documents(lengths, tally)
    assert list(documents) == list(corpus.stream(tokenizer)) and corpus.count() == 70
    found = [sum(len(tokenizer.encode(each.text())) for each in documents if mark in each.text()) for mark in "+-"]
    assert found == tally.tokens and abs(found[1] / sum(found) - 0.75) < 0.02
    assert [documents[index] for index in (7, 3)] == [list(documents)[7], list(documents)[3]]


def test_a_tokenizer_is_trained_on_the_shares_in_bytes(tokenizer):
    corpus = open_corpus(SOURCES, Mixture(shares=(0.5, 0.5), tokens=1), CHAT, 0)
    sizes = {"+": 0, "-": 0}
    for document in islice(corpus.sample(), 40):
        sizes["+" if "+" in document.text() else "-"] += len(document.text().encode())
    assert abs(sizes["+"] / sum(sizes.values()) - 0.5) < 0.02
