import json
import re

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.passages import Passage, PassageFile


def test_each_line_is_a_passage_with_its_name(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"body": " One.\nTwo. ", "title": "A"}) + "\n\n" + json.dumps({"body": "é", "title": "A"})
    )
    corpus = PassageFile(path=str(path), text="body", name="title")
    assert corpus.passages() == (Passage("One.\nTwo.", "A"), Passage("é", "A"))
    assert corpus.reads() == (str(path),)
    assert PassageFile(path=str(path), text="title").passages() == (Passage("A"), Passage("A"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": " "}\n', r"a.jsonl:2: column 'text' is ' '; it must be a text"),
        ('{"text": "a"}\n{"body": "a"}\n', r"a.jsonl:2: column 'text' is None"),
        ('{"text": 3}\n', r"a.jsonl:1: column 'text' is 3"),
        ('{"text": "a"}\n[1]\n', r"a.jsonl:2: expected a JSON object"),
        ("", "a.jsonl holds no passages"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(InputError, match=message):
        PassageFile(path=str(tmp_path / "a.jsonl")).passages()


def test_a_missing_file_is_named(tmp_path):
    path = str(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match=re.escape(f"there is no file {path} with passages")):
        PassageFile(path=path).passages()
