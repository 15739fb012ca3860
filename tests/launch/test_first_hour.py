"""The check of an accelerator's first hour, at small size on the CPU, and told of a wrong kernel."""

import json
import sys

import jax
import pytest

from benchmarks import first_hour


@pytest.mark.slow
def test_all_checks_pass_on_a_cpu_and_the_file_says_what_was_found(tmp_path, monkeypatch, capsys):
    out = tmp_path / "told.json"
    monkeypatch.setattr(sys, "argv", ["first_hour", "--small", "--out", str(out)])
    assert first_hour.main() == 0, capsys.readouterr().out
    told = json.loads(out.read_text())
    assert told["machine"]["platform"] == "cpu" and told["machine"]["versions"]["jax"] == jax.__version__
    assert set(told["checks"]) == {check.__name__ for check in first_hour.CHECKS}
    assert told["checks"]["losses_are_the_cpus"]["difference"] == 0.0
    assert told["checks"]["grpo_speed"]["sampled_tokens_per_second"] > 0


def test_a_kernel_that_is_a_little_wrong_is_told_and_the_exit_status_says_so(tmp_path, monkeypatch, capsys):
    right = first_hour.token_log_probs

    def wrong(*arrays, **settings):
        found = right(*arrays, **settings)
        return found._replace(log_prob_BT=found.log_prob_BT * 1.01)

    def broken(sizes):
        raise ValueError("no such instruction\nand more")

    monkeypatch.setattr(first_hour, "token_log_probs", wrong)
    monkeypatch.setattr(first_hour, "CHECKS", (broken, first_hour.head_is_the_formula))
    monkeypatch.setattr(sys, "argv", ["first_hour", "--small", "--out", str(tmp_path / "told.json")])
    assert first_hour.main() == 1
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first.startswith("WRONG  broken") and first.endswith("ValueError: no such instruction")
    assert second.startswith("WRONG  head_is_the_formula")
    assert (
        0.005 < json.loads((tmp_path / "told.json").read_text())["checks"]["head_is_the_formula"]["difference"] < 0.02
    )


def test_another_machine_than_the_one_asked_for_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["first_hour", "--platform", "tpu", "--out", str(tmp_path / "told.json")])
    assert first_hour.main() == 2
    assert "no tpu" in capsys.readouterr().out and not (tmp_path / "told.json").exists()
