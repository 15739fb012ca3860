"""Experiments and commands read their inputs from object stores."""

import json
from pathlib import Path

import gguf_file
import numpy as np
import pytest
from object_server import serving

from reasoning.cli.main import main
from reasoning.core.errors import InputError
from reasoning.core.object_store import open_store
from reasoning.data.chat.format import ChatFormat
from reasoning.data.sources import Jsonl, TextFolder
from reasoning.stages.pretrained import Pretrained
from reasoning.tasks.passages import PassageFile
from reasoning.tasks.question_files import QuestionFile
from reasoning.use.find_model import locate_model


@pytest.fixture(params=["s3", "gs"])
def url(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving(request.param) as server:
        yield f"{server.make_bucket('inputs')}/some"


def test_documents_questions_and_passages_are_read_from_addresses(url: str):
    store = open_store(url)
    for name in "ab":
        store.write(f"{name}.jsonl", json.dumps({"text": f"text {name}"}).encode() + b"\n")
        store.write(f"texts/{name}.txt", f"text {name}".encode())
    store.write("q.jsonl", b'{"question": "1 + 1?", "answer": "so #### 2"}\n')
    expected = ["text a", "text b"]
    for source in (Jsonl(f"{url}/[ab].jsonl"), TextFolder(f"{url}/texts")):
        documents = source.documents(ChatFormat(), 0)
        assert all(text in each.text() for text, each in zip(expected, documents, strict=True))
    problems = QuestionFile(path=f"{url}/q.jsonl", test_path=f"{url}/q.jsonl").problems("train", 1, 0)
    assert "1 + 1?" in problems[0].question
    assert [each.text for each in PassageFile(path=f"{url}/a.jsonl").passages()] == ["text a"]
    with pytest.raises(InputError, match="nothing lies at"):
        PassageFile(path=f"{url}/none.jsonl").passages()


def test_a_model_is_brought_in_and_found_where_it_lies_in_a_store(url: str, tmp_path: Path, capsys):
    values = gguf_file.write(tmp_path / "model.gguf")
    store, out = open_store(url), tmp_path / "out"
    store.write("model.gguf", (tmp_path / "model.gguf").read_bytes())
    assert main(["convert", "gguf", f"{url}/model.gguf", str(out)]) == 0
    for path in out.rglob("*"):
        if path.is_file():
            store.write(f"converted/{path.relative_to(out)}", path.read_bytes())
    location = locate_model(f"{url}/converted")
    assert location.stage == "converted" and (location.path / "model.json").exists()
    config = Pretrained(path=f"{url}/converted").config_at_hand()
    assert config.vocabulary == np.shape(values["token_embd.weight"])[0]
    assert main(["convert", "export", f"{url}/converted", str(tmp_path / "exported")]) == 0
    assert main(["convert", "gguf", f"{url}/none.gguf", str(tmp_path / "none")]) == 2
    assert f"nothing lies at {url}/none.gguf" in capsys.readouterr().err
