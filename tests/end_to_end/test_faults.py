"""Some of the rounds of ``make faults``, and what all of them stand on."""

import json
from collections import Counter
from pathlib import Path

import pytest
from faults import rot
from faults.__main__ import histogram
from faults.cases import SHARES, Case, chosen_event, draw, sort_of
from faults.jobs import JOBS
from faults.rounds import ACTS, perform
from faults.world import World
from miniature import copy_cache

STAGE = "artifacts/.stage-0123456789ab.partial"
# A checkpoint's manifest is written last of its files, and then it gets its name.
SAVE = [f"fsync {STAGE}/checkpoints/step_{step:08}.partial/.manifest.json.17.partial" for step in (3, 6)]


def case(kind: str, stage: str, way: str = "flip", place: float = 0.5, moment: float = 0.5) -> Case:
    return Case(1, kind, stage, place, moment, way)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "events"),
    [
        (case("kill at a change", "zero", place=0), [*SAVE, "rename run.json"]),
        (case("rot in what a stage has done", "cot_data"), [f"write {STAGE}/parts/.0.jsonl.17.partial"] * 2),
        (case("rot in a checkpoint", "base"), [f"write {STAGE}/metrics.jsonl"] * 8),
    ],
    ids=lambda given: f"{given.kind} in {given.stage}" if isinstance(given, Case) else "",
)
def test_what_happens_to_a_stage_loses_nothing_and_is_told(
    reference: Path, tmp_path: Path, case: Case, events: list[str]
):
    world = World(tmp_path, (case.stage,), reference, flags="")
    copy_cache(world.cache)
    world.events = {case.stage: events}
    result = perform(world, case, tmp_path / "round")
    assert result.met and result.broken == []
    assert any("damaged" in line for line in result.told) == case.kind.startswith("rot")


def test_every_fault_has_its_share_of_the_rounds_and_somebody_who_plays_it():
    cases = [draw(number, 3, ("base", "zero")) for number in range(sum(SHARES.values()))]
    assert Counter(each.kind for each in cases) == SHARES
    assert SHARES.keys() == {*ACTS, *JOBS}
    kills = Counter(each.stage for each in cases if each.kind == "kill at a change")
    assert kills == {"base": 13, "zero": 13}
    assert [draw(number, 3, ("base", "zero")) for number in (0, 70)] == [cases[0], cases[70]]


def test_rare_changes_are_met_as_often_as_frequent_ones():
    events = [*["write metrics.jsonl"] * 97, *SAVE, "rename run.json"]
    chosen = [events[chosen_event(case("", "", place=k / 30, moment=0.9), events) - 1] for k in range(30)]
    assert Counter(map(sort_of, chosen)) == {
        "fsync checkpoints/step_#.partial/.manifest.json.#.partial": 10,
        "rename run.json": 10,
        "write metrics.jsonl": 10,
    }


@pytest.mark.parametrize("way", ["flip", "truncate", "delete", "zero"])
def test_rot_changes_one_file_in_the_way_that_it_says(tmp_path: Path, way: str):
    content = bytes(range(1, 201))
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "empty").touch()
    told = rot.damage(case("", "", way, moment=0.25), [tmp_path / "a", tmp_path / "empty"])
    assert told.startswith("a ") and way in told
    found = (tmp_path / "a").read_bytes() if (tmp_path / "a").exists() else None
    if way == "flip":
        assert found is not None
        assert sum((one ^ other).bit_count() for one, other in zip(content, found, strict=True)) == 1
    else:
        assert found == {"truncate": content[:50], "delete": None, "zero": content[:50] + bytes(150)}[way]


def test_the_table_counts_rounds_and_shows_what_broke():
    rows = [
        {
            "number": k,
            "kind": "SIGTERM",
            "stage": "base",
            "where": "fsync parts/.#.jsonl.#.partial (2)",
            "met": k > 0,
            "broken": ["hung"] * (k == 2),
        }
        for k in range(3)
    ]
    told = histogram(json.loads(json.dumps(rows)))
    assert "| SIGTERM | 3 | 2 | 2 |" in told and "| fsync, parts | 3 | 2 | 2 |" in told
    assert "2: SIGTERM in base, fsync parts/.#.jsonl.#.partial (2): hung" in told
