from pathlib import Path

from reasoning.core.artifact import Artifact
from reasoning.findings.prose import lines
from reasoning.findings.stages import StageFacts


def test_lines_of_plain_text_hold_the_values_as_they_are():
    told = lines("collected.txt", **dict.fromkeys(("fixed", "large"), lambda value, *_: "<7>"), listed=" & ".join,
                 stage=StageFacts("data", "Collect", Artifact(Path(), "records", "data", "", {"kept": 7, "sampled": 9}),
                                  {"start": ("a", "b")}))  # fmt: skip
    assert told == ["kept <7> of <7> replies of a & b (<7> %)."]
