import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.experiment.locations import Location
from reasoning.experiment.nodes import (
    Binding,
    ConstantRead,
    Definition,
    DictNode,
    Include,
    LiteralNode,
    PartName,
    Reference,
    SequenceNode,
    ValueNode,
)
from reasoning.experiment.syntax import given_override, parse_file, parse_override

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
LITERALS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=12,
)


def plain(node: ValueNode) -> object:
    """The Python value of a node that holds literals only."""
    if isinstance(node, LiteralNode):
        return node.value
    if isinstance(node, SequenceNode):
        return (list if node.listed else tuple)(plain(item) for item in node.items)
    assert isinstance(node, DictNode)
    return {key: plain(item) for key, item in node.entries.items()}


def value_of(text: str) -> ValueNode:
    (line,) = parse_file(f"x = {text}\n", "f")
    assert isinstance(line, Definition)
    return line.value


def blamed(error: InputError) -> list[tuple[str, str]]:
    """The label of every location in a message and the word above its carets."""
    lines = str(error).split("\n")[1:]
    found = []
    for above, below in zip(lines[::2], lines[1::2], strict=True):
        start = below.index("^")
        found.append((above.strip().split(": ")[0], above[start : start + below.count("^")]))
    return found


@given(LITERALS)
def test_a_literal_is_read_as_python_reads_it(value):
    assert repr(plain(value_of(repr(value)))) == repr(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1)", 1),
        ("(1,)", (1,)),
        ("()", ()),
        ("[]", []),
        ("{}", {}),
        ("(\n  1, # one\n  2,\n)", (1, 2)),
        ("- 1.5", -1.5),
        ("+3", 3),
        ("('a'\n 'b')", "ab"),
        ("{'a': (1,), \"b\": {'c': None},}", {"a": (1,), "b": {"c": None}}),
    ],
)
def test_forms_of_literals(text, value):
    assert plain(value_of(text)) == value


def test_names_references_and_constants_are_told_apart():
    node = value_of("(zero, @stages.GRPO, %width)")
    assert isinstance(node, SequenceNode)
    kinds = [(type(item), item.location.column) for item in node.items]
    assert kinds == [(PartName, 5), (Reference, 11), (ConstantRead, 25)]


def test_the_three_kinds_of_line_and_nothing_for_comments():
    text = "# c\ninclude 'm/t.gin' # c\n\nzero = @stages.GRPO\nzero.lr = 1\n"
    include, definition, binding = parse_file(text, "f")
    assert isinstance(include, Include) and include.path == "m/t.gin" and include.location.label == "f:2"
    assert isinstance(definition, Definition) and definition.name == "zero" and definition.location.label == "f:4"
    assert isinstance(binding, Binding) and (binding.part, binding.field) == ("zero", "lr")
    assert binding.location == Location("f:5", "zero.lr = 1", 0, 4)
    assert binding.field_location == Location("f:5", "zero.lr = 1", 5, 2)


def test_windows_line_ends_are_only_line_ends():
    assert len(parse_file("a = 1\r\nb = 2\r\n", "f")) == 2


@pytest.mark.parametrize(
    ("text", "message", "locations"),
    [
        ("x = 1\ny = 2 * 3", r"unexpected '\*'.*nothing is computed", [("f:2", "*")]),
        ("x = 2 - 1", "expected the end of the line, found '-'.*nothing is computed", [("f:1", "-")]),
        ("x = len(y)", r"expected the end of the line, found '\('", [("f:1", "(")]),
        ("x = 1, 2", "a tuple needs brackets", [("f:1", ",")]),
        ("x = f'a'", "expected the end of the line", [("f:1", "'a'")]),
        ("x =", "expected a value", [("f:1", "")]),
        ("x = = 1", "expected a value, found '='", [("f:1", "=")]),
        ("x 1", "expected '=' after 'x'", [("f:1", "1")]),
        ("= 1", "expected include 'path', name = VALUE", [("f:1", "=")]),
        ("includ 'a.gin'", "did you mean 'include'", [("f:1", "includ")]),
        ("include 'a.gin' x", "expected the end of the line", [("f:1", "x")]),
        ("x = (1,\n  2", "this '\\(' is never closed", [("f:1", "(")]),
        ("x = {'a': 1", "this '{' is never closed", [("f:1", "{")]),
        ("x = (1 2)", r"expected ',' or '\)', found '2'.*opens here", [("f:1", "2"), ("f:1", "(")]),
        ("x = (1,\ny = 2", r"expected ',' or '\)', found '='", [("f:2", "="), ("f:1", "(")]),
        ("x = (1]", r"expected ',' or '\)', found '\]'", [("f:1", "]"), ("f:1", "(")]),
        ("x = (,)", "expected a value, found ','", [("f:1", ",")]),
        ("x = {1: 2}", "keys of a dict are texts", [("f:1", "1")]),
        ("x = {a: 2}", "keys of a dict are texts", [("f:1", "a")]),
        ("x = {'a': 2, 'a': 3}", "the key 'a' stands twice", [("f:1", "'a'")]),
        ("x = {'a'}", "expected ':'", [("f:1", "}")]),
        ("a.b.c = 1", "'a.b.c' has 3 names", [("f:1", "a.b.c")]),
        ("True = 1", "'True' is a word of the language", [("f:1", "True")]),
        ("include.x = 1", "'include' is a word of the language", [("f:1", "include.x")]),
        ("x = -y", "expected a value, found '-'", [("f:1", "-")]),
        ("x = --1", "expected a value, found '-'", [("f:1", "-")]),
        ("x = -%y", "expected a value, found '-'", [("f:1", "-")]),
    ],
)
def test_bad_syntax_is_named_and_underlined(text, message, locations):
    with pytest.raises(InputError, match=message) as error:
        parse_file(text, "f")
    assert blamed(error.value) == [(label, word or blamed(error.value)[0][1]) for label, word in locations]


def test_a_number_with_its_sign_is_underlined_whole():
    assert value_of("- 1.5").location == Location("f:1", "x = - 1.5", 4, 5)


def test_an_override_is_one_definition_or_one_binding():
    line = parse_override("zero.clip_high=0.2")
    assert isinstance(line, Binding)
    assert line.field_location == Location("command line", "zero.clip_high=0.2", 5, 9)
    constant = parse_override("width = 128")
    assert isinstance(constant, Definition) and constant.name == "width"


@pytest.mark.parametrize(
    ("text", "message", "word"),
    [
        ("", "expected include", None),
        ("include 'a'", "expected '='", "'a'"),
        ("=3", "an override is name=VALUE", "="),
        ("a=1\nb=2", "an override sets one value", None),
        ("zero.lr", "expected '=' after 'zero.lr'", None),
    ],
)
def test_a_bad_override_is_shown_under_the_command_line(text, message, word):
    with pytest.raises(InputError, match=message) as error:
        parse_override(text)
    ((label, found),) = blamed(error.value)
    assert label.startswith("command line") and (word is None or found == word)


def test_an_override_from_python_takes_the_object_itself():
    value = object()
    line = given_override("zero.start", value)
    assert isinstance(line, Binding) and isinstance(line.value, LiteralNode) and line.value.value is value
    assert line.value.location.label == "override"


@pytest.mark.parametrize("key", ["", "zero.", "a b", "a.b.c", "None"])
def test_a_bad_key_of_an_override_from_python_is_refused(key):
    with pytest.raises(InputError):
        given_override(key, 1)
