"""The convert command, as it is typed."""

import pytest
from gguf_file import write

from reasoning.cli.main import main


def test_a_gguf_file_becomes_a_folder_that_is_whole_or_absent(tmp_path, capsys):
    write(tmp_path / "model.gguf")
    out = tmp_path / "out"
    assert main(["convert", "gguf", str(tmp_path / "model.gguf"), str(out)]) == 0
    assert "parameters are in" in capsys.readouterr().out
    assert {"model.json", "checkpoint", "tokenizer.json"} <= {path.name for path in out.iterdir()}
    assert main(["convert", "gguf", str(tmp_path / "model.gguf"), str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "model.gguf").read_bytes()[:-999])
    assert main(["convert", "gguf", str(tmp_path / "cut.gguf"), str(tmp_path / "other")]) == 2
    assert "cut off or damaged" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model.gguf", "cut.gguf", "out"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("no/such/folder", "no owner/model of the Hub"), ("owner/model@main", "could not fetch owner/model@main")],
)
def test_a_source_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch, name, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["convert", "hf", name, str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
