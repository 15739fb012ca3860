import pytest

from reasoning.experiment.locations import Location, error_at, suggestion


def test_the_caret_stands_under_the_word():
    line = "zero.clip_hihg = 0.2"
    message, above, below = str(error_at("no such field", Location("a.gin:3", line, 5, 9))).split("\n")
    assert message == "no such field"
    assert above == "  a.gin:3: zero.clip_hihg = 0.2"
    start = below.index("^")
    assert above[start : start + below.count("^")] == "clip_hihg"


def test_tabs_before_the_word_are_kept_so_that_the_caret_does_not_shift():
    above, below = str(Location("f:1", "a\t=\tb", 4)).split("\n")
    assert below.index("^") == above.index("b")
    assert below.count("\t") == 2


def test_a_part_of_a_word_keeps_its_line():
    assert Location("f:1", "zero.lr = 1", 0, 7).part(5, 2) == Location("f:1", "zero.lr = 1", 5, 2)


def test_every_place_is_shown_in_the_order_given():
    text = str(error_at("twice", Location("f:1", "a = 1", 0), Location("g:7", "a = 2", 0)))
    assert [line for line in text.split("\n") if "=" in line] == ["  f:1: a = 1", "  g:7: a = 2"]


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("widht", ["width", "depth"], "; did you mean 'width'?"),
        ("grpo", ["GRPO", "SFT"], "; did you mean 'GRPO'?"),
        ("xyz", ["width", "depth"], "; known are depth, width"),
        ("xyz", [], ""),
        ("xyz", [f"name{number}" for number in range(40)], ""),
    ],
)
def test_an_unknown_word_gets_the_nearest_name_or_the_few_there_are(word, known, end):
    assert suggestion(word, known) == end
