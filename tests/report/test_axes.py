import pytest

from reasoning.report.axes import Axis, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0.03, 1.05, [0.25, 0.5, 0.75, 1.0]),
        (1, 45, [20, 40]),
        (-0.12, 0.11, [-0.1, 0, 0.1]),
        (2e6, 9e6, [2e6, 4e6, 6e6, 8e6]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low, high, expected):
    found = ticks(low, high)
    assert found == pytest.approx(expected) or (len(found) <= 6 and low <= found[0] and found[-1] <= high)


@pytest.mark.parametrize(
    ("high", "wanted", "expected"), [(0.5, 2, ["0.00", "0.25", "0.50"]), (20, 2, ["0", "10", "20"])]
)
def test_labels_have_the_digits_that_the_longest_needs(high, wanted, expected):
    assert [label for _, label in Axis(0, high, 0, 1).labels(wanted)] == expected


def test_places_lie_between_the_ends_evenly_or_by_doubling():
    assert [Axis(0, 4, 10, 50)(value) for value in (0, 1, 4)] == [10, 20, 50]
    assert [Axis(1, 16, 0, 4, doubling=True)(value) for value in (1, 2, 16)] == [0, 1, 4]
    assert Axis(0, 3, 0, 30).labels(6, whole=True) == [(0, "0"), (10, "1"), (20, "2"), (30, "3")]
