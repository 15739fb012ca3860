import os

import pytest

from reasoning.sandbox.inside import compiler
from reasoning.sandbox.tiers import compiler as found
from tests.support.inside import ran


@pytest.mark.parametrize(("source", "code"), [("int main() { return 0; }", 0), ("int main() { x }", 1)])
def test_a_program_is_handed_out_if_it_compiles(tmp_path, monkeypatch, source, code):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setattr("tests.support.inside.CHECKOUT", tmp_path)
    done, written = ran(compiler.run, source, [found(), "-w"])
    assert done.returncode == code
    assert written.startswith(b"\x7fELF") == (code == 0)
