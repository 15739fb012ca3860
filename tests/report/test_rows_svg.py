import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from reasoning.report import rows_svg
from reasoning.report.document import Bar, Bars, Dots, Mark
from reasoning.report.rows_svg import bars, clipped


def places(dots):
    """(middle of the dot, left and right end of its interval) of each row."""
    picture = ElementTree.fromstring(rows_svg.dots(dots)).find("svg")
    found = []
    for group in picture.iter("g"):
        span = (
            re.match(r"M([\d.]+),[\d.]+H([\d.]+)", group.find("path").get("d"))
            if group.find("path") is not None
            else None
        )
        found.append((float(group.find("circle").get("cx")), span and (float(span[1]), float(span[2]))))
    return found


def test_shares_stand_on_an_axis_from_none_to_all():
    dots = Dots("t", (Mark("a", 0.25, "0.25", 0.0, 0.5), Mark("b", 1.0, "1", None, None)))
    (first, span), (second, none) = places(dots)
    assert none is None and span is not None
    assert first == pytest.approx((span[0] + span[1]) / 2, abs=0.02)
    assert second - span[0] == pytest.approx(4 * (first - span[0]), abs=0.05)


def test_differences_have_a_line_at_none_between_those_below_and_above():
    source = rows_svg.dots(
        Dots("t", (Mark("a", -2.0, "−2", -3.0, -1.0, "down"), Mark("b", 5.0, "+5", 4.0, 6.0, "up")), zero=True)
    )
    zero = float(re.findall(r'<line x1="([\d.]+)"[^>]*class="axis"', source)[0])
    (below, _), (above, _) = places(
        Dots("t", (Mark("a", -2.0, "", -3.0, -1.0), Mark("b", 5.0, "", 4.0, 6.0)), zero=True)
    )
    assert below < zero < above and (above - zero) / (zero - below) == pytest.approx(2.5, abs=0.02)


def test_words_say_what_is_drawn_and_nothing_becomes_a_tag():
    source = rows_svg.dots(Dots("<b>", (Mark("<i>" * 20, 3.0, "3", 2.0, 4.0),)))
    assert "<b>" not in source and "<i>" not in source
    assert "95 % interval 2.000–4.000" in source and 'role="img"' in source


def test_long_names_are_cut():
    assert clipped("abc", 3) == "abc" and clipped("abcd", 3) == "ab…"


def test_long_names_stand_whole_above_their_dots():
    names = [f"zero_optimizer.learning_rate={value}" for value in (0.001, 0.0001)]
    source = rows_svg.dots(Dots("t", tuple(Mark(name, 0.5, "0.5", None, None) for name in ("a", *names))))
    picture = ElementTree.fromstring(source).find("svg")
    found = [(group.find("text"), group.find("circle")) for group in picture.iter("g")]
    assert [text.text for text, _ in found] == ["a", *names]
    assert all(text.get("text-anchor") is None and text.get("x") == "0" for text, _ in found)
    tops = [float(text.get("y")) for text, _ in found]
    dots = [float(circle.get("cy")) for _, circle in found]
    assert all(4 < dot - top for top, dot in zip(tops, dots, strict=True))
    assert all(12 <= top - dot for top, dot in zip(tops[1:], dots[:-1], strict=True))


BARS = Bars(
    "What lies there",
    ("kept", "made"),
    (Bar("one", (Mark("kept", 2.0, "2"), Mark("made", 1.0, "1")), "3"), Bar("two", (Mark("made", 4.0, "4"),), "4")),
    Mark("capacity", 3.0, "3 GiB"),
)


def rectangles(text: str) -> list[tuple[float, float]]:
    found = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', text)
    return [(float(x), float(width)) for x, width in found]


def test_pieces_lie_side_by_side_to_scale():
    for drawn in _wide_and_narrow():
        kept, made, other = rectangles(drawn)
        assert made[0] == pytest.approx(kept[0] + kept[1]) and kept[0] == other[0]
        assert abs(kept[1] - 2 * made[1]) < 0.02 and abs(other[1] - 4 * made[1]) < 0.04


def test_the_limit_stands_where_its_value_is_and_all_is_said():
    for text in _wide_and_narrow():
        [limit] = re.findall(r'<line x1="([\d.]+)"', text)
        x, width = rectangles(text)[2]
        assert abs(float(limit) - (x + 0.75 * width)) < 0.02
        assert text.index("<line") > text.rindex("<rect")  # a limit isn't hidden by what lies there
        assert 'aria-label="What lies there. one: 3, kept 2, made 1; two: 4, made 4"' in text


def test_kinds_keep_the_last_colours_however_many_there_are():
    drawn = bars(replace(BARS, last=1))
    assert re.findall(r'class="kind(\d)"', drawn) == ["0", "7", "0", "7", "7"] * 2  # legend, then pieces
    assert re.findall(r'class="kind(\d)"', bars(BARS)) == ["0", "1", "0", "1", "1"] * 2


def test_on_phones_names_and_sums_stand_above_their_bars():
    wide, narrow = (ElementTree.fromstring(text).find("svg") for text in _wide_and_narrow())
    for picture, above in ((wide, False), (narrow, True)):
        for row in picture.iter("g"):
            name, told = row.findall("text")
            top = float(row.find("rect").get("y"))
            assert (float(name.get("y")) < top, float(told.get("y")) < top) == (above, above)


def _wide_and_narrow() -> list[str]:
    wide, narrow = re.findall(r"<figure.*?</figure>", bars(BARS), re.DOTALL)
    return [wide, narrow]
