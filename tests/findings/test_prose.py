import re
from pathlib import Path

from reasoning.core.artifact import Artifact
from reasoning.findings import prose
from reasoning.findings.prose import lines
from reasoning.findings.stages import StageFacts


def test_lines_of_plain_text_hold_the_values_as_they_are():
    told = lines("collected.txt", **dict.fromkeys(("fixed", "large"), lambda value, *_: "<7>"), listed=" & ".join,
                 stage=StageFacts("data", "Collect", Artifact(Path(), "records", "data", "", {"kept": 7, "sampled": 9}),
                                  {"start": ("a", "b")}))  # fmt: skip
    assert told == ["kept <7> of <7> replies of a & b (<7> %)."]


def test_what_runs_say_is_known_without_a_terminal_or_a_page():
    files = [*Path(prose.__file__).parent.glob("*.py")]
    assert len(files) > 20
    assert not [file.name for file in files if re.search(r"(from|import) (rich|markupsafe)", file.read_text())]
