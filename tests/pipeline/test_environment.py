import copy
import json
import subprocess

import jax

from reasoning.pipeline.environment import (
    PACKAGE,
    code_version,
    current_environment,
    environment_differences,
    source_hash,
)


def test_the_record_is_json_and_differs_from_itself_in_nothing():
    now = current_environment()
    assert environment_differences(json.loads(json.dumps(now)), now) == ()
    assert now["libraries"]["jax"] == jax.__version__
    assert now["device"]["count"] == jax.device_count()


def test_each_difference_is_told_with_both_values():
    now = current_environment()
    before = copy.deepcopy(now)
    before["libraries"]["jax"] = "0.1"
    before["device"]["count"] = 99
    before["flags"] = {"XLA_FLAGS": "--old"}
    found = environment_differences(before, {**now, "flags": {}})
    assert f"jax 0.1 -> {jax.__version__}" in found
    assert f"device count 99 -> {jax.device_count()}" in found
    assert "XLA_FLAGS --old -> None" in found
    assert len(found) == 3


def test_a_commit_that_leaves_the_source_alone_is_no_difference():
    now = current_environment()
    before = {**now, "code": {**now["code"], "commit": "0" * 40, "changed": True}}
    assert environment_differences(before, now) == ()
    (line,) = environment_differences({**now, "code": {**now["code"], "source": "1" * 64}}, now)
    assert line.startswith("code ")


def test_the_commit_is_gits():
    head = subprocess.run(["git", "-C", str(PACKAGE), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert code_version().get("commit", "") == head.stdout.strip()


def test_code_that_only_shows_results_is_not_part_of_the_source_that_made_them(tmp_path):
    for folder in ("core", "report"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("x = 1")
    before = source_hash(tmp_path)
    (tmp_path / "report" / "a.py").write_text("x = 2")
    assert source_hash(tmp_path) == before
    (tmp_path / "core" / "a.py").write_text("x = 2")
    assert source_hash(tmp_path) != before


def test_a_setting_of_jax_that_changes_numbers_is_recorded_and_compared():
    before = current_environment()
    with jax.threefry_partitionable(False), jax.default_matmul_precision("highest"):
        now = current_environment()
    assert before["flags"].keys() & {"jax_threefry_partitionable", "jax_default_matmul_precision"} == set()
    assert environment_differences(json.loads(json.dumps(before)), json.loads(json.dumps(now))) == (
        "jax_threefry_partitionable None -> False",
        "jax_default_matmul_precision None -> highest",
    )
