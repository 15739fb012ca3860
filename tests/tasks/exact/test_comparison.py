import random

import pytest

from reasoning.tasks.exact.comparison import same
from reasoning.tasks.exact.reading import LONGEST


def never_asked(right, given):
    raise AssertionError(f"asked about {right} and {given}")


@pytest.mark.parametrize(
    ("right", "given", "equal"),
    [("1/3", "0.3333333333", False), ("(1,2)", "1,2", False), ("1500", "1.5e3", True), ("007", "7", True)],
)
def test_what_is_known_exactly_is_not_asked(right, given, equal):
    assert same(right, given, never_asked) is equal


def test_fractions_are_equal_as_their_crosswise_products_are():
    random_ = random.Random(0)
    for _ in range(500):
        a, c = (random_.randint(-12, 12) for _ in range(2))
        b, d = (random_.randint(1, 12) for _ in range(2))
        assert same(rf"\frac{{{a}}}{{{b}}}", f"{c}/{d}", never_asked) is (a * d == b * c)


def test_what_hangs_on_others_is_not_known():
    assert same(r"\sin 2x", r"2\sin x\cos x", lambda *_: None) is None
    assert same(r"\sin 2x", r"2\sin x\cos x", lambda *_: True) is True
    assert same(r"(1, \sin 2x)", r"(2, 2\sin x\cos x)", lambda *_: None) is False
    assert same(r"\sin x, \cos x", r"\sin y, \cos y", lambda *_: None) is None


def test_unordered_parts_are_paired_off_as_others_say():
    pairs = {(r"\sin 2 x", r"2 \sin x \cos x"), (r"\cos 2 x", r"1 - 2 \sin ^ 2 x")}
    right, given = r"\sin 2x, \cos 2x", r"1-2\sin^2 x, 2\sin x\cos x"
    assert same(right, given, lambda *question: question in pairs) is True
    assert same(right, given, lambda *question: question == (r"\cos 2 x", r"1 - 2 \sin ^ 2 x")) is False


def test_the_very_same_text_is_right_whatever_it_is():
    assert same(r"1, 2, \ldots, n", r"1, 2, \ldots, n", never_asked) is True
    assert same("", "", never_asked) is False
    assert same("1" * (LONGEST + 1), "1" * (LONGEST + 1), never_asked) is False
