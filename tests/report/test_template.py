from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup
from written_run import HOSTILE

from reasoning.core.text import printable
from reasoning.report.document import Code, Paragraph
from reasoning.report.template import environment, in_html


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


def rendered(template, **values):
    return environment(in_html).from_string(template).render(values)


def parsed(source):
    reader = Read()
    reader.feed(source)
    reader.close()
    return reader


def test_text_comes_back_as_itself_and_makes_no_tag():
    found = parsed(rendered("<p>{{ text }}<b>{{ text }}</b></p>", text=HOSTILE))
    assert [tag for tag, _ in found.tags] == ["p", "b"]
    assert found.texts == [printable(HOSTILE)] * 2


def test_an_attribute_comes_back_as_itself_and_makes_no_other():
    source = rendered('<a href="{{ where }}"></a>', where=f'" onclick="alert(1)" {HOSTILE}')
    [(tag, attributes)] = parsed(source).tags
    assert tag == "a" and attributes == {"href": printable(f'" onclick="alert(1)" {HOSTILE}')}


def test_what_a_template_has_made_enters_as_it_is():
    assert rendered("{{ one }}{{ other }}", one=Markup("<b>"), other="<") == "<b>&lt;"


def test_numbers_are_written_in_few_digits():
    written = rendered("{% for value in values %}{{ value }} {% endfor %}", values=(1.0, 2.346, 0.1 + 0.2, 7, -0.5))
    assert written.split() == ["1", "2.35", "0.3", "7", "-0.5"]


def test_a_template_asks_what_kind_of_block_it_has():
    template = "{% if block is code %}h{% elif block is paragraph %}p{% endif %}"
    assert [rendered(template, block=block) for block in (Code("a"), Paragraph("a"))] == ["h", "p"]


def test_a_value_that_there_is_not_is_an_error():
    with pytest.raises(UndefinedError):
        rendered("{{ nothing }}")
