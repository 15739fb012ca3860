"""What the machine tells of its processor."""

from pathlib import Path

import pytest

from reasoning.core import processor

TWO = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f bmi2

processor\t: 1
model name\t: AMD EPYC
flags\t\t: fpu avx2 bmi2
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the system would tell of processors in; not there yet."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr("reasoning.core.processor._TOLD", path)
    processor.has.cache_clear()
    yield path
    processor.has.cache_clear()


def test_instructions_are_those_that_every_processor_has(told: Path):
    told.write_text(TWO)
    assert processor.has("avx2") and not processor.has("avx512f") and not processor.has("avx")


def test_a_machine_that_tells_nothing_has_none(told: Path):
    assert not processor.has("avx2") and processor.described("flags") == []


def test_equal_lines_are_told_once(told: Path):
    told.write_text(TWO)
    assert processor.described("model name") == ["model name\t: AMD EPYC"]
    assert len(processor.described("model name", "flags")) == 3
