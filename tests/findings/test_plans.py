"""What a plan says in words: the verdict, and how much is missing."""

import pytest
from plans import plan_of
from tiny_stages import BASE

from reasoning.core.mesh import MeshShape
from reasoning.findings.plans import (
    duration,
    gib,
    largest_kinds,
    mesh_words,
    search_lines,
    size_words,
    stage_lines,
    verdict,
)
from reasoning.pipeline.run import Run
from reasoning.planning.search import Choice, Ranked


def test_what_fits_says_how_much_is_free():
    assert list(verdict(plan_of(4.0))) == ["fits: 9.75 GiB are free at the fullest, zero: update"]


def test_what_does_not_fit_says_by_how_much_and_beside_what():
    [line] = verdict(plan_of(14.75))
    assert line == "zero: update doesn't fit by 1.00 GiB: 14.75 GiB beside reference 2.00"
    lines = list(verdict(plan_of(20.0, "RESOURCE_EXHAUSTED: Used 20.0G of 15.75G hbm")))
    assert (
        lines[0].startswith("zero: update doesn't fit by 6.25 GiB")
        and lines[1] == "  the compiler: RESOURCE_EXHAUSTED: Used 20.0G of 15.75G hbm"
    )


def test_a_program_that_the_compiler_fails_on_is_told_as_that():
    lines = list(verdict(plan_of(0.0, "INTERNAL: RET_CHECK failure")))
    assert lines == ["zero: update can't be compiled", "  the compiler: INTERNAL: RET_CHECK failure"]


def test_a_price_is_told_for_each_stage_and_in_all():
    lines = list(stage_lines(plan_of(4.0), 1800.0))
    assert lines[-1] == "in all: at least 12 s, 0.00667 chip-hours, 12.00 at 1,800.00 a chip and hour"
    refused = list(stage_lines(plan_of(20.0, "RESOURCE_EXHAUSTED"), 0.0))
    assert all(line.endswith("chip-hours; what the compiler refused isn't counted") for line in refused)


@pytest.mark.parametrize(
    ("seconds", "text"), [(2e-6, "2 µs"), (0.012, "12 ms"), (90, "1.5 min"), (9000, "2.5 h"), (172800, "2 d")]
)
def test_times_are_short(seconds, text):
    assert duration(seconds) == text


def test_sizes_have_their_units():
    assert gib(3 * 2**29) == "1.50" and size_words(2.5e9) == "2.5 GB" and size_words(12.0) == "12 B"


def test_a_mesh_is_told_axis_by_axis():
    assert mesh_words({"data": 2, "fsdp": 4}) == "mesh: data 2, fsdp 4"


def test_kinds_too_small_to_be_seen_have_no_name_of_their_own():
    pieces = {"optimizer": 2e9, "parameters": 1e9, "loss_mask": 5e6}, {"caches": 3e9}
    assert largest_kinds(pieces)[:-2] == ("caches", "optimizer", "parameters")


def ranked(seconds: float, fits: bool = True, own: bool = False) -> Ranked:
    run = Run((BASE,), mesh=MeshShape())
    return Ranked(Choice({"data": 2, "fsdp": 4}, 2, "dots", run, 1.0, 1.0, 1.0, own), fits, 1e9, seconds, 1e9, seconds)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            (ranked(3.0), ranked(4.0, own=True)),
            "the fastest takes 75% of the time of the file's own settings: mesh: data 2, fsdp 4; base.microbatches 1; "
            "remat 'dots'",
        ),
        ((ranked(3.0), ranked(1.0, False, own=True)), "the fastest fits, which the file's own settings don't: mesh:"),
        ((ranked(3.0, own=True), ranked(4.0)), "nothing faster was found than the file's own settings"),
        ((ranked(1.0, False), ranked(1.0, False, own=True)), "nothing that was compiled fits; take more"),
    ],
)
def test_what_a_search_found_is_held_against_the_file_s_own_settings(found, told):
    [line] = search_lines(found)
    assert line.startswith(told)
