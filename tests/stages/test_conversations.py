from pathlib import Path

import pytest

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.sources import mix
from reasoning.stages.conversations import read_conversations, write_conversations

CHAT = ChatFormat()


def collected(folder: Path, name: str, count: int) -> Artifact:
    rows = [
        {"prompt": f"{name}{n}", "completion": f"<answer>{n}</answer>", "answer": "", "kind": ""} for n in range(count)
    ]
    (folder / name).mkdir()
    assert write_conversations(folder / name, rows) == count
    return Artifact(folder / name, "records", name, "", {})


def test_conversations_come_back_as_prompts_that_are_read_and_replies_that_are_learnt(tmp_path: Path):
    [source] = read_conversations([collected(tmp_path, "a", 3)], (), "stage rows")
    assert list(source.documents(CHAT, 0)) == [CHAT.exchange(f"a{n}", f"<answer>{n}</answer>") for n in range(3)]


def test_the_ratio_is_of_numbers_of_conversations_and_a_small_collection_repeats(tmp_path: Path):
    parts = [collected(tmp_path, "a", 60), collected(tmp_path, "b", 4)]
    texts = [document.text() for document in mix(read_conversations(parts, (3.0, 1.0), "stage rows"), CHAT, 0)]
    questions = [text.removeprefix(CHAT.user).partition(CHAT.assistant)[0] for text in texts]
    assert sorted(question for question in questions if question[0] == "a") == sorted(f"a{n}" for n in range(60))
    assert sorted(question for question in questions if question[0] == "b") == sorted([f"b{n}" for n in range(4)] * 5)


def test_without_a_ratio_every_conversation_occurs_once(tmp_path: Path):
    parts = [collected(tmp_path, "a", 5), collected(tmp_path, "b", 2)]
    assert len(mix(read_conversations(parts, (), "stage rows"), CHAT, 0)) == 7


def test_a_ratio_of_another_size_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"stage rows: 1 stages of conversations have the ratio \(3.0, 1.0\)"):
        read_conversations([collected(tmp_path, "a", 2)], (3.0, 1.0), "stage rows")


def test_stages_that_left_no_conversations_are_refused(tmp_path: Path, corpus: Artifact, base: Artifact):
    with pytest.raises(InputError, match="stage rows: stage base left checkpoint, no conversations"):
        read_conversations([base], (), "stage rows")
    with pytest.raises(InputError, match="stage rows: stage corpus left the columns .*tokens"):
        read_conversations([corpus], (), "stage rows")
