import pytest

from reasoning.core.statistics import Interval
from reasoning.findings.numbers import amount, ends, fixed, large, number, plain, points, short


@pytest.mark.parametrize(
    ("value", "long", "brief"),
    [(0.12345, "0.123", "0.12"), (24.26, "24.3", "24.3"), (12345.6, "12,346", "12,346"), (-0.5, "−0.500", "−0.50"),
     (-0.0001, "0.000", "0.00")],
)  # fmt: skip
def test_numbers_have_as_many_digits_as_their_size_asks_for(value, long, brief):
    assert (number(value), short(value)) == (long, brief)


def test_numbers_of_any_unit_have_the_digits_of_what_they_belong_to():
    written = [number(value, scale=value) for value in (0, 0.97512, 24.63, 1234567.0, 0.00012345, -0.00012345)]
    assert written == ["0.000", "0.975", "24.6", "1.23 M", "0.000123", "−0.000123"]
    assert number(0.02, scale=12.0) == "0.0" and number(1234.5, scale=1234.5) == "1,234"
    assert number(0.25, scale=0.25, sign=True) == "+0.250" and number(1.2e-7, scale=1.2e-7) == "1.2e−07"


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (Interval(0.66, 0.63, 0.69, 512), ("+66", "63 to 69")),
        (Interval(-0.1, -0.13, 0.02, 512), ("−10", "−13 to 2")),
        (Interval(0.004, -0.02, 0.029, 512), ("+0.4", "−2.0 to 2.9")),
        (Interval(0.006, 0.0003, 0.0112, 512), ("+0.60", "0.03 to 1.12")),
        (Interval(0.0, -0.063, 0.063, 60), ("0.0", "−6.3 to 6.3")),
    ],
)
def test_a_difference_is_written_in_points_with_as_many_digits_as_it_supports(found, written):
    assert points(found) == written


def test_ends_are_joined_by_a_word_where_a_dash_could_be_taken_for_a_sign():
    assert ends(0.1, 0.2, short) == "0.10–0.20" and ends(-0.1, 0.2, short) == "−0.10 to 0.20"
    assert ends(0.1, 0.2, lambda end: fixed(end, 1, sign=True), signed=True) == "+0.1 to +0.2"


def test_large_counts_are_written_by_thousands():
    assert [large(value) for value in (950, 9999, 25600, 2.352e6, 1.2e15)] == [
        "950", "9,999", "25.6 k", "2.35 M", "1.2 P",
    ]  # fmt: skip


def test_recorded_numbers_have_four_digits_and_counts_all_of_theirs():
    assert [plain(value) for value in (6, 1234567, 0.123456, -0.5, -3)] == ["6", "1,234,567", "0.1235", "−0.5", "−3"]


def test_zero_has_no_sign():
    assert fixed(-0.01, 1, sign=True) == "0.0" and fixed(-1.5, 1) == "−1.5" and fixed(0.5, 0, sign=True) == "0"
    assert fixed(-0.001, 2) == "0.00" == fixed(0.0, 2, sign=True)


def test_what_something_costs_takes_few_digits_and_no_power_of_ten():
    assert [amount(value) for value in (0.5, 31.6227766, 183.4, 1024, 2.35e6)] == [
        "0.5",
        "31.6",
        "183",
        "1,024",
        "2.35 M",
    ]
