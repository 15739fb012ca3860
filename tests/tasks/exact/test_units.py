import pytest

from reasoning.tasks.exact.latex import one_spelling, tokens_of
from reasoning.tasks.exact.units import DEGREE, PERCENT, split_unit


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("5 cm", "5", "cm"),
        (r"5\text{ centimeters}", "5", "cm"),
        (r"5\text{ cm}^2", "5", "cm^2"),
        ("12 square feet", "12", "foot^2"),
        (r"12\text{ ft}^{2}", "12", "foot^2"),
        (r"6\text{ apples}", "6", "apple"),
        (r"\$5", "5", "dollar"),
        (r"-\$5", "-5", "dollar"),
        ("5 dollars", "5", "dollar"),
        (r"50\%", "50", PERCENT),
        (r"90^{\circ}", "90", DEGREE),
        (r"10\text{ miles per hour}", "10", "mile per hour"),
        ("5 m", "5m", ""),
        ("6 million", "6million", ""),
        ("5", "5", ""),
        (r"\text{cm}", r"\text{cm}", ""),
    ],
)
def test_a_quantity_is_a_number_and_a_unit_of_one_name(text, number, unit):
    tokens, found = split_unit(tokens_of(one_spelling(text)))
    assert ("".join(tokens), found) == (number, unit)


@pytest.mark.parametrize("word", ["million", "or", "half", "squared", "wrong"])
def test_words_that_change_a_number_are_no_units(word):
    assert split_unit(tokens_of(rf"6\text{{ {word} }}"))[1] == ""
