from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import jax
import pytest
import tiny_stages
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.pipeline.graph import ancestors, build_graph, check_fit, check_stage_names, downstream, exams_of
from reasoning.stages.stage import Stage
from reasoning.tasks.problems import ProblemSet


@dataclass(frozen=True)
class Part:
    name: str = ""
    start: Stage | None = None
    others: tuple[object, ...] = ()
    extra: object = None

    def run(self, inputs, out, context):
        raise AssertionError("a graph runs nothing")


def test_parents_that_are_not_listed_are_pulled_in_before_their_children():
    base = Part("base")
    zero = Part("zero", start=base)
    exam = Part("exam", others=(base, zero))
    graph = build_graph((exam,))
    assert list(graph) == ["base", "zero", "exam"]
    assert graph["exam"].parents == {"others": ("base", "zero")}
    assert graph["zero"].parents == {"start": "base"}


@given(st.data())
def test_any_order_of_listing_puts_parents_first(data):
    stages: list[Part] = []
    for number in range(data.draw(st.integers(1, 8))):
        parents = tuple(data.draw(st.sets(st.sampled_from(stages)))) if stages else ()
        stages.append(Part(f"s{number}", others=parents))
    graph = build_graph(tuple(data.draw(st.permutations(stages))))
    seen: set[str] = set()
    for name, node in graph.items():
        assert set(node.parent_names()) <= seen
        seen.add(name)
    assert seen == {stage.name for stage in stages}


def test_stages_without_parents_keep_the_order_given():
    assert list(build_graph((Part("b"), Part("a")))) == ["b", "a"]


def test_equal_stages_of_one_name_are_one_stage():
    assert list(build_graph((Part("zero", start=Part("base")), Part("base")))) == ["base", "zero"]


def test_two_different_stages_of_one_name_are_refused():
    with pytest.raises(InputError, match="two different stages are named 'base'"):
        build_graph((Part("zero", start=Part("base")), Part("base", extra=3)))


def test_a_stage_with_its_own_descendants_name_is_refused():
    with pytest.raises(InputError, match="two different stages are named 'base'"):
        build_graph((Part("base", start=Part("base")),))


def test_a_circle_is_named():
    zero = Part("zero")
    base = Part("base", start=zero)
    object.__setattr__(zero, "start", base)
    with pytest.raises(InputError, match="zero -> base -> zero"):
        build_graph((zero,))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", 3])
def test_a_name_that_is_no_folder_name_is_refused(name):
    with pytest.raises(InputError, match="has the name"):
        build_graph((replace(Part(), name=name),))


@pytest.mark.parametrize("hidden", [[Part("base")], (Part("base"), 3), {"a": Part("base")}, ((Part("base"),),)])
def test_a_stage_where_nobody_looks_for_a_parent_is_refused(hidden):
    with pytest.raises(InputError, match=r"zero\.extra holds the stage 'base' inside"):
        build_graph((Part("zero", extra=hidden),))


def test_a_stages_class_is_no_parent():
    assert list(build_graph((Part("zero", extra=Part),))) == ["zero"]


def test_an_empty_run_and_things_that_are_no_stages_are_refused():
    with pytest.raises(InputError, match="empty"):
        build_graph(())
    thing: Any = Part
    with pytest.raises(InputError, match="not a stage"):
        build_graph((thing,))


def test_downstream_is_what_is_made_from_a_stage_and_nothing_else():
    base, other = Part("base"), Part("other")
    zero = Part("zero", start=base)
    graph = build_graph((Part("exam", others=(zero,)), Part("report", start=other)))
    assert downstream(graph, "base") == ("base", "zero", "exam")
    assert downstream(graph, "other") == ("other", "report")


def test_a_mistyped_stage_gets_a_suggestion():
    with pytest.raises(InputError, match="--only zeroo: .*did you mean 'zero'"):
        check_stage_names(build_graph((Part("zero"),)), ("zeroo",), "--only")


@dataclass(frozen=True)
class Choosy(Part):
    """A stage that wants a mesh of its own size."""

    size: int = 1

    def check(self, mesh: Any) -> None:
        if mesh.size != self.size:
            raise InputError(f"{self.name} wants {self.size} devices, not {mesh.size}")


def test_stages_that_can_tell_are_asked_whether_they_fit_the_mesh():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    base = Part("base")
    check_fit(build_graph((base, Choosy("zero", start=base))), mesh)
    with pytest.raises(InputError, match="zero wants 2 devices, not 1"):
        check_fit(build_graph((base, Choosy("zero", start=base, size=2))), mesh)


@given(st.data())
def test_what_a_stage_is_made_from_is_all_that_it_is_downstream_of(data):
    stages: list[Part] = []
    for number in range(data.draw(st.integers(1, 8))):
        parents = tuple(data.draw(st.sets(st.sampled_from(stages)))) if stages else ()
        stages.append(Part(f"s{number}", others=parents))
    graph = build_graph(tuple(stages))
    for name in graph:
        assert ancestors(graph, name) == tuple(
            each for each in graph if each != name and name in downstream(graph, each)
        )


@dataclass(frozen=True)
class Careful(Part):
    kept_out: tuple[str, ...] = ()

    def shunning(self, exams: Mapping[str, ProblemSet]) -> Self:
        return replace(self, kept_out=tuple(exams))

    def shuns(self, problems: ProblemSet) -> bool:
        return bool(self.kept_out)


def test_stages_that_keep_exams_out_are_told_of_all_that_are_held_on_test_questions():
    rows, other = Careful("rows"), Part("other")
    base = Part("base", start=rows)
    zero = Part("zero", others=(other, base))
    exam = tiny_stages.examine(zero)
    taught = tiny_stages.examine(zero, name="taught", quiz=tiny_stages.quiz(problems=tiny_stages.TRAIN))
    graph = build_graph((exam, taught, zero))
    assert [name for name, _ in exams_of(graph)] == ["exam"]
    told = graph["rows"].stage
    assert told == replace(rows, kept_out=("exam",))
    # Whoever looks into its parents finds the same stage there.
    assert graph["base"].stage == replace(base, start=told)
    assert graph["zero"].stage == replace(zero, others=(other, graph["base"].stage))
    assert graph["other"].stage is other and list(graph) == ["other", "rows", "base", "zero", "exam", "taught"]
