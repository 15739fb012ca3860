"""What was left out is shown by reason, each with the first document of its kind, and acts on no terminal."""

import io
import json
from pathlib import Path

from rich.console import Console

from reasoning.cli.removed import show_removed
from reasoning.core.files import write_json
from reasoning.stages.clean import COUNTS, REMOVED


def shown(folder: Path) -> str:
    file = io.StringIO()
    show_removed(Console(file=file, width=400), folder)
    return file.getvalue()


def test_each_reason_is_shown_with_its_number_and_its_first_document(tmp_path: Path):
    assert shown(tmp_path) == ""
    write_json(
        tmp_path / COUNTS, {"looked_at": 5000, "removed": {"exact duplicates": 1200, "with questions of exam": 1}}
    )
    rows = [
        {"reason": "exact duplicates", "document": f"document {row} of a", "text": "x", "like": "y"} for row in "78"
    ]
    listed = (json.dumps(row) + "\n" for row in rows)
    (tmp_path / REMOVED).write_text("".join(listed))
    text = shown(tmp_path)
    assert "left out of 5,000 documents read from files" in text
    assert "1,200 exact duplicates\n    document 7 of a: x\n    is like y\n  1 with questions of exam\n" in text
    assert "document 8" not in text


def test_where_nothing_was_left_out_nothing_is_shown(tmp_path: Path):
    write_json(tmp_path / COUNTS, {"looked_at": 5, "removed": {}})
    assert shown(tmp_path) == ""
