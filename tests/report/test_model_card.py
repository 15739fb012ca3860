"""A model's card tells where it is from and repeats the measured numbers of its stage, and no others."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from written_run import HOSTILE, place_of, write_run

from reasoning.data.chat.format import ChatFormat
from reasoning.findings.facts import gather
from reasoning.report.model_card import CardSubject, model_card

SETTINGS = {"model_type": "llama", "max_position_embeddings": 8192, "hidden_size": 576}
ALONE = CardSubject("mine", SETTINGS, 134_515_008, "bfloat16", None, False, "smollm2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("card") / "run")


@pytest.fixture(scope="module")
def subject(folder: Path) -> CardSubject:
    return replace(ALONE, chat=ChatFormat(), templated=True, stage="r1", run="run", facts=gather(folder))


def test_every_number_of_the_stage_is_there_with_its_interval(folder: Path, subject: CardSubject):
    card = model_card(subject)
    for exam in ("exam", "students"):
        table = json.loads((place_of(folder, exam) / "results.json").read_text())["checkpoints"]["r1"]
        for name, score in table.items():
            digits = {"length": 1, "distinct": 2}.get(name, 3 if score["mean"] < 10 else 1)
            row = rf"\| {re.escape(name.replace('/', ' '))} \| {score['mean']:.{digits}f} \| {score['low']:.{digits}f}–"
            assert re.search(row, card), name
    assert "exam: 60 held-out problems" in card and "students: 60 problems of the training split" in card
    assert "| 60 |" in card


def test_only_the_stages_own_numbers_are_there(subject: CardSubject):
    """Checkpoints that the same exams asked are not the model's."""
    card = model_card(replace(subject, stage="cold"))
    assert "students" not in card and "cups" in card
    unknown = model_card(replace(subject, stage="corpus"))
    assert "no evaluation of its run examined it" in unknown and "95 %" not in unknown


def test_how_it_was_made_is_told_from_the_first_checkpoint_on(subject: CardSubject):
    card = model_card(subject)
    places = [
        card.index(f"- **{name}**: ({kind})") for name, kind in (("base", "Pretrain"), ("sft2", "SFT"), ("r1", "GRPO"))
    ]
    assert places == sorted(places) and "**zero**" not in card
    assert "stage r1 of the run run" in card and "resolved.gin" in card and "0123456789ab" in card
    assert "optimizer.learning_rate = 0.0005" in card


def test_a_model_of_no_run_says_that_nothing_is_known():
    card = model_card(ALONE)
    assert "belongs to no run" in card and "Nothing." in card
    assert "134,515,008 parameters (bfloat16)" in card and "apply_chat_template" not in card
    assert card.startswith("---\nlibrary_name: transformers\n") and "\n# license:" in card


OTHER = {"@": "data.chat.ChatFormat", "user": "Q:"}


def test_an_exam_in_another_chat_format_is_told_from_one_in_the_exported(folder: Path, subject: CardSubject):
    file = place_of(folder, "exam") / "artifact.json"
    record = json.loads(file.read_text())
    record["settings"]["quiz"] |= {"samples": 8, "max_new_tokens": 40, "temperature": 1.0, "chat": OTHER}
    file.write_text(json.dumps(record))
    subject = replace(subject, facts=gather(folder))
    card = model_card(subject)
    assert "8 samples a problem, temperature 1.0, at most 40 new tokens, in another chat format than lies here" in card
    assert "in the chat format that lies here" in model_card(replace(subject, chat=ChatFormat(user="Q:")))


def test_what_a_run_says_can_not_leave_its_place(subject: CardSubject):
    assert HOSTILE not in model_card(subject)
    assert (
        "<script>" not in model_card(replace(subject, folder="<script>", stage="<script>", facts=None)).split("```")[0]
    )


def test_the_code_that_loads_it_is_python_whatever_the_folder_is_called():
    card = model_card(replace(ALONE, folder='a"\nimport os #', templated=True))
    code = card.split("```")[1]
    assert "\nimport os" not in code
    compile(code, "card", "exec")
