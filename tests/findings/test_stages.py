from reasoning.core.artifact import Artifact
from reasoning.findings.stages import StageFacts, mapping, numeric


def stage(holds="", parents=None, **record):
    artifact = Artifact(None, holds, "mine", "00", {"a": 1, "b": True}) if holds else None
    return StageFacts("mine", "Mine", artifact, parents or {}, record)


def test_what_a_stage_learns_from_is_what_its_record_says_and_nothing_where_it_says_nothing():
    assert stage(learns_from="rewards").learns_from == "rewards" and stage().learns_from == "nothing"


def test_a_stage_examines_that_has_checkpoints_and_leaves_no_more_than_results():
    asked = {"checkpoints": ("base",)}
    assert stage("results", asked).examines and stage("", asked).examines
    assert not stage("records", asked).examines and not stage("results").examines


def test_what_records_of_another_shape_say_is_left_out():
    assert stage(settings=3).settings == {} == mapping([1]) and stage(settings={"a": 1}).settings == {"a": 1}
    assert stage("results").results == {"a": 1} and stage().results == {}


def test_only_numbers_count_as_numbers():
    assert numeric({"a": 1, "b": 2.5, "c": True, "d": "3", "e": None}) == {"a": 1, "b": 2.5}
