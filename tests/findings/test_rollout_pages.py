"""What is found and shown of rollouts is what a plain loop over all rows would find."""

import json
import subprocess
import sys

import numpy as np
import pytest
from rollout_files import rollout_rows, write_many, write_rollouts

from reasoning.core.errors import InputError
from reasoning.findings.rollout_pages import Condition, RolloutPages, Wanted, conditions, written_rows
from reasoning.training.metrics import rollouts_file


@pytest.fixture(scope="module")
def zero(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero")
    for step in (1, 2, 9):
        write_rollouts(folder, step, problems=12, samples=4)
    return folder


@pytest.fixture(scope="module")
def every():
    return [row for step in (1, 2, 9) for row in rollout_rows(step, 12, 4)]


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (Wanted(), lambda row: True),
        (
            Wanted(conditions("strict>=1, tagged<1")),
            lambda row: row["rewards/strict"] >= 1 and row["rewards/tagged"] == 0,
        ),
        (Wanted(conditions("truncated=1")), lambda row: row["truncated"]),
        (Wanted(conditions("rewards/tagged!=0")), lambda row: row["rewards/tagged"] == 1),
        (Wanted(kind="cups"), lambda row: row["kind"] == "cups"),
        (Wanted(text="AT STEP 9"), lambda row: "at step 9" in row["completion"]),
        (Wanted(conditions("group=1"), text="onerror"), lambda row: row["group"] == 1),
    ],
)
def test_rows_are_found_by_numbers_kinds_and_texts(zero, every, wanted, holds):
    expected = [number for number, row in enumerate(every) if holds(row)]
    assert RolloutPages.of(zero, None).find(wanted).tolist() == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", ["reward", "length", "tagged", "advantage"])
def test_rows_are_sorted_equals_in_order_and_those_without_the_number_last(zero, every, name, descending):
    key = "rewards/tagged" if name == "tagged" else name
    values = [row[key] for row in every]
    expected = sorted(
        range(len(every)),
        key=lambda number: (values[number] is None, (-1 if descending else 1) * (values[number] or 0.0)),
    )
    assert RolloutPages.of(zero, None).find(Wanted(sort=name, descending=descending)).tolist() == expected


def test_pages_hold_the_rows_that_were_asked_for_in_their_order_with_rewards_and_verdicts(zero, every):
    pages = RolloutPages.of(zero, None)
    shown = pages.rows([130, 3, 47, 96])
    assert [row["row"] for row in shown] == [130, 3, 47, 96]
    for row in shown:
        own = every[row["row"]]
        assert {name: row[name] for name in ("step", "group", "sample", "completion", "answer")} == {
            name: own[name] for name in ("step", "group", "sample", "completion", "answer")
        }
        assert row["rewards"] == {"strict": own["rewards/strict"], "tagged": own["rewards/tagged"]}
        wrong = own["rewards/strict"] == 0
        assert row["verdicts"] == ({"strict": ("wrong", 3, own["details/strict"])} if wrong else {})
        assert "sampler_log_probs" not in row
    [whole] = pages.rows([5], log_probs=True)
    assert whole["sampler_log_probs"] == every[5]["sampler_log_probs"]
    assert [row["row"] for row in written_rows(pages, range(100), block=7)] == list(range(100))


def test_one_step_is_chosen_and_a_file_that_grows_is_read_anew(tmp_path):
    write_rollouts(tmp_path, 4, problems=2, samples=3)
    assert len(RolloutPages.of(tmp_path, 4).find(Wanted())) == 6
    write_rollouts(tmp_path, 4, problems=5, samples=3)
    write_rollouts(tmp_path, 6, problems=1, samples=3)
    assert len(RolloutPages.of(tmp_path, 4).find(Wanted())) == 15
    assert len(RolloutPages.of(tmp_path, None).find(Wanted())) == 18
    with pytest.raises(InputError, match="no rollouts of step 5; there are 4, 6"):
        RolloutPages.of(tmp_path, 5)


def test_what_rows_do_not_have_and_what_is_no_condition_is_refused(zero, tmp_path):
    pages = RolloutPages.of(zero, 1)
    assert pages.names()[:3] == ("step", "group", "sample") and "strict" in pages.names()
    for wanted in (Wanted(sort="beauty"), Wanted((Condition("beauty", ">", 1.0),))):
        with pytest.raises(InputError, match=r"no number 'beauty'; there are step, group"):
            pages.find(wanted)
    for text in ("strict", "strict>", "strict>=one", "strict=1e", "; drop"):
        with pytest.raises(InputError, match="is no condition; write as in"):
            conditions(text)
    with pytest.raises(InputError, match="kept none"):
        RolloutPages.of(tmp_path, None)
    (rollouts_file(tmp_path, 1).parent).mkdir()
    rollouts_file(tmp_path, 1).write_bytes(b"PAR1")
    with pytest.raises(InputError, match="damaged or gone"):
        RolloutPages.of(tmp_path, 1).find(Wanted())


def test_what_is_no_number_meets_no_condition():
    values = np.array([1.0, np.nan])
    assert Condition("x", "!=", 0.0).holds(values).tolist() == [True, False]
    assert Condition("x", "<", 2.0).meets(1.0) and not Condition("x", "<", 2.0).meets(float("nan"))


# VmHWM, since ru_maxrss also counts what the parent had when the process was made: here a worker of pytest.
_PROGRAM = """
import json, sys, time
from pathlib import Path
from reasoning.findings.rollout_pages import RolloutPages, Wanted, conditions
folder, seconds = Path(sys.argv[1]), []
RolloutPages.of(folder, 1).find(Wanted())
for wanted in (Wanted(), Wanted(sort="reward"), Wanted(conditions("strict>=1,tagged<1"), sort="length")):
    start = time.monotonic()
    pages = RolloutPages.of(folder, 1)
    found = pages.find(wanted)
    shown = pages.rows(found[320 : 320 + 32].tolist())
    seconds.append(time.monotonic() - start)
    assert len(shown) == 32
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(json.dumps({"seconds": seconds, "mib": int(peak.split()[1]) / 1024}))
"""


@pytest.mark.slow
def test_a_million_rollouts_are_paged_in_little_memory(tmp_path):
    file = rollouts_file(tmp_path, 1)
    file.parent.mkdir()
    write_many(file, 1_000_000)
    printed = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)], check=True, capture_output=True, text=True
    )
    measured = json.loads(printed.stdout)
    print(measured)
    assert measured["mib"] < 500
