from html.parser import HTMLParser

from written_run import HOSTILE

from reasoning.report.markup import Markup, attribute, element, joined, text
from reasoning.report.text import printable


class Read(HTMLParser):
    """What a parser of its own finds: tags with attributes, and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def parsed(markup: Markup) -> Read:
    reader = Read()
    reader.feed(markup.source)
    reader.close()
    return reader


def test_text_comes_back_as_itself_and_makes_no_tag():
    found = parsed(element("p", HOSTILE, element("b", HOSTILE)))
    assert [tag for tag, _ in found.tags] == ["p", "b"]
    assert found.texts == [printable(HOSTILE)] * 2


def test_an_attribute_comes_back_as_itself_and_makes_no_other():
    [(tag, attributes)] = parsed(element("a", href=f'" onclick="alert(1)" {HOSTILE}')).tags
    assert tag == "a" and attributes == {"href": printable(f'" onclick="alert(1)" {HOSTILE}')}


def test_attributes_that_are_none_are_left_out_and_names_become_html():
    assert element("path", d="M0,0", class_="a", stroke_width=1.5, id=None).source == (
        '<path d="M0,0" class="a" stroke-width="1.5"/>'
    )


def test_only_elements_that_may_be_empty_close_themselves():
    assert element("td").source == "<td></td>"
    assert element("rect", element("title", "x")).source == "<rect><title>x</title></rect>"


def test_numbers_are_written_in_few_digits():
    assert [attribute(value) for value in (1.0, 2.346, 0.1 + 0.2, 7, -0.5)] == ["1", "2.35", "0.3", "7", "-0.5"]


def test_pieces_are_joined_and_strings_among_them_escaped():
    assert joined("<", Markup("<b>"), text("&")).source == "&lt;<b>&amp;"
