"""``reasoning plan`` from an experiment file to its table, its data and its exit status."""

import json
from pathlib import Path

import pytest

from reasoning.cli.main import main
from reasoning.planning.topology import libtpu_is_installed

POD = Path(__file__).parents[2] / "experiments" / "pods"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "arguments are required: --on"),
        (("x.gin", "--on", "v5e-16", "--price", "much"), "invalid float value: 'much'"),
    ],
)
def test_mistaken_arguments_are_refused(arguments, told, capsys):
    with pytest.raises(SystemExit):
        main(["plan", *arguments])
    assert told in capsys.readouterr().err


def test_an_unknown_topology_is_one_line_with_what_to_write(capsys):
    assert main(["plan", str(POD / "smollm2_v5e.gin"), "--on", "v5e-17"]) == 2
    error = capsys.readouterr().err
    assert "there is no TPU topology 'v5e-17'" in error and "v5e:4x4" in error


@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu is not installed: make tpu-aot adds it")
def test_a_mesh_that_does_not_fit_the_devices_is_one_line(capsys):
    assert main(["plan", str(POD / "llama3_8b_grpo.gin"), "--on", "v5e-16"]) == 2
    assert "needs 64 devices but there are 16; change an axis or use -1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu is not installed: make tpu-aot adds it")
def test_a_model_is_planned_before_it_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "240")
    file = tmp_path / "plan.json"
    sizes = {"stacks": "(one,)", "vocabulary": 512, "width": 128, "heads": 2, "kv_heads": 2, "mlp_width": 256}
    small = [
        *(f"known.{name}={value}" for name, value in sizes.items()),
        "run.stages=(grpo,)",
        "grpo.max_new_tokens=64",
        "grpo.microbatches=1",
        "problems_file='absent.jsonl'",
    ]
    (tmp_path / "users_module.py").write_text("short = lambda completions, **columns: [0.0 for each in completions]\n")
    more = "one = @models.config.Stack\none.count = 1\ngrpo.rewards = (@users_module.short,)\ngrpo.correct = None\n"
    written = f"{(POD / 'smollm2_v5e.gin').read_text()}\n{more}"
    (tmp_path / "pod.gin").write_text(written)
    arguments = ["plan", str(tmp_path / "pod.gin"), *small, "--on", "v5e-1", "--prompt-tokens", "64", "--quick"]
    assert main([*arguments, "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "fits:" in shown and "grpo: update" in shown
    plan = json.loads(file.read_text())
    assert plan["fits"] and plan["chips"] == 1 and plan["chip_hours"] > 0
    update = next(one for one in plan["programs"] if one["program"] == "update")
    assert set(update["beside"]) == {"reference"} and 0 < update["mfu"] < 1
