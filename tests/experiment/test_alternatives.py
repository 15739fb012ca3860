import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.alternatives import alternatives, item_locations
from reasoning.experiment.drafts import draft_parts, load_statements
from reasoning.experiment.nodes import Binding, Definition, LiteralNode

FILE = """
run = @pipeline.Run
run.stages = ()
width = 64
seen = %width
both = (1, 2)
table = {'run.keep': (1,)}
sweep = @pipeline.Sweep
sweep.scores = ('a', %seen_name)
seen_name = 'b'
sweep.grid = {'run.keep': (1, %width), 'width': %both,
    "run.keep_every": (2,)}
sweep.zip = %table
sweep.seeds = %seen
"""


@pytest.fixture
def drafts(tmp_path):
    file = tmp_path / "a.gin"
    file.write_text(FILE)
    return draft_parts(load_statements(file), ())


def test_every_value_becomes_the_override_that_chooses_it_in_the_order_written(drafts):
    found = alternatives(drafts, "sweep.grid")
    assert list(found) == ["run.keep", "width", "run.keep_every"]
    first, second = found["run.keep"]
    assert isinstance(first, Binding) and (first.part, first.field) == ("run", "keep")
    assert isinstance(first.value, LiteralNode) and first.value.value == 1
    assert [line.name for line in found["width"] if isinstance(line, Definition)] == ["width", "width"]
    assert second.value.location.line[second.value.location.column :].startswith("%width")


def test_places_lead_to_the_key_without_its_quotes_and_to_each_value(drafts):
    (line,) = alternatives(drafts, "sweep.grid")["run.keep_every"]
    assert isinstance(line, Binding)
    for location, word in ((line.location, "run"), (line.field_location, "keep_every"), (line.value.location, "2")):
        assert location.label.endswith("a.gin:12") and location.line[location.column :][: location.width] == word


def test_constants_are_followed_and_an_unbound_field_offers_nothing(drafts):
    assert list(alternatives(drafts, "sweep.zip")) == ["run.keep"]
    assert alternatives(drafts, "sweep.each") == {}


def test_values_given_in_python_are_offered_too(drafts, tmp_path):
    marker = object()
    given = draft_parts(
        load_statements(tmp_path / "a.gin"), {"sweep.each": {"run.keep": (marker,)}, "sweep.scores": ("x", "y")}
    )
    (line,) = alternatives(given, "sweep.each")["run.keep"]
    assert vars(line.value)["value"] is marker
    assert [location.label for location in item_locations(given, "sweep.scores")] == ["override", "override"]


def test_a_key_that_no_override_can_have_is_refused_at_its_place(tmp_path):
    file = tmp_path / "b.gin"
    file.write_text("sweep = @pipeline.Sweep\nsweep.each = {'run keep': (1,)}\n")
    with pytest.raises(InputError, match=r"b\.gin:2: .*\n +\^{8}$"):
        alternatives(draft_parts(load_statements(file), ()), "sweep.each")


def test_items_are_the_places_of_a_tuples_values(drafts):
    assert [
        location.line[location.column :][: location.width] for location in item_locations(drafts, "sweep.scores")
    ] == [
        "'a'",
        "%seen_name",
    ]
    assert item_locations(drafts, "sweep.each") == ()
