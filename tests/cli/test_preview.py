import io
from pathlib import Path

from rich.console import Console

from reasoning.cli.preview import show_preview
from reasoning.pipeline.preview import Preview, StagePreview


def shown(preview):
    output = io.StringIO()
    show_preview(Console(file=output, width=100), preview, Path("runs/a"))
    return output.getvalue()


def test_sizes_are_readable_and_parents_and_state_are_told():
    stage = StagePreview("zero", "stages.GRPO", ("base",), {"parameters": 1234567, "dtype": "float32"}, "begun")
    text = shown(Preview((stage,), {"data": 2, "fsdp": 1}, "Pallas for TPU v5e", ""))
    assert "parameters 1,234,567" in text and "dtype float32" in text and "base" in text
    assert "unfinished, will go on" in text and "mesh: data 2, fsdp 1" in text
    assert "kernels: Pallas for TPU v5e" in text


def test_what_this_machine_can_not_run_is_said_with_the_reason():
    text = shown(Preview((StagePreview("zero", "stages.GRPO", (), {}, None),), {}, "", "the mesh needs 256 devices"))
    assert "this machine can't run it: the mesh needs 256 devices" in text and "not known here" in text


def test_what_lies_at_the_paths_of_settings_is_told():
    stage = StagePreview("corpus", "stages.Prepare", (), {}, "new", {"data.jsonl": "7692c3ad3540bb80", "m": "absent"})
    text = shown(Preview((stage,), {}, "xla", ""))
    assert "reads data.jsonl: 7692c3ad3540\n" in text and "reads m: absent\n" in text
