"""What a compiler writes down before it goes on to machine code is read in time, and what ends by itself isn't left."""

import threading
from pathlib import Path

import pytest

from reasoning.planning import placed
from reasoning.planning.placed import Placed, leaving_when_placed, read_placed

TEXT = "HloModule jit_step\n"


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(placed, "_POLL", 0.01)


def write_down(folder: Path, name: str, text: str, total: int, gpu: bool = False) -> None:
    start = folder / f"module_0000.{name}.cl_1."
    report = f"Memory Space: default (color=0)\nTotal bytes: {total} (2.00KiB)\n\nMemory Space: vmem\nTotal bytes: 7\n"
    kind, end = ("sm_9.0a_gpu_", "") if gpu else ("", "_after_buffer_assignment")
    Path(f"{start}{kind}after_optimizations-memory-usage-report.txt").write_text(report)
    Path(f"{start}{kind}after_optimizations{end}.txt").write_text(text)


@pytest.mark.parametrize("gpu", [False, True])
def test_who_waits_leaves_once_buffers_are_placed(tmp_path, monkeypatch, gpu):
    monkeypatch.setattr(placed, "_PATIENCE", 0.0)
    left, gone = [], threading.Event()

    def leave(found: Placed) -> None:
        left.append(found)
        gone.set()

    with leaving_when_placed(tmp_path, leave):
        write_down(tmp_path, "jit_step", TEXT, 2048, gpu)
        assert gone.wait(30)
    assert left == [Placed(TEXT, 2048.0)]


def test_a_program_that_ends_soon_is_waited_for(tmp_path, monkeypatch):
    left = []
    monkeypatch.setattr(placed, "_PATIENCE", 30.0)
    with leaving_when_placed(tmp_path, left.append):
        write_down(tmp_path, "jit_step", TEXT, 2048)
    assert left == []


def test_of_several_programs_the_largest_is_meant(tmp_path):
    write_down(tmp_path, "jit_step", 2 * TEXT, 4096)
    write_down(tmp_path, "jit_constant", TEXT, 512)
    assert read_placed(tmp_path) == Placed(2 * TEXT, 4096.0)
