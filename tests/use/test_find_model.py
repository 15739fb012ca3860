"""A model named in words: a run's stage, asked as its run says, or a folder by itself, asked as somebody says."""

import json
from dataclasses import replace
from pathlib import Path

import gguf_file
import pytest
from tiny_run import write_tiny_run
from tiny_stages import TEST

import reasoning as r
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import SMOLLM_2
from reasoning.experiment.describe import describe
from reasoning.use.find_model import find_model, locate_model

QUESTION = TEST.problems()[0].question
SHORT = replace(SMOLLM_2, default_system=None)


@pytest.fixture(scope="module")
def folder(corpus, base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("named"), corpus, base)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("alone") / "model.gguf"
    gguf_file.write(file)
    return file


def record(folder: Path, stage: str, **values: object) -> None:
    file = folder / stage / "artifact.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_stage_is_asked_in_its_own_format_else_in_that_of_what_it_was_made_from(folder: Path):
    other, own = ({"chat": describe(ChatFormat(opening=text))} for text in ("=", "+"))
    assert locate_model(f"{folder}/base").chat is None
    record(folder, "base", parents={"data": ["1" * 64]})
    record(folder, "corpus", hash="1" * 64, settings=other)
    assert locate_model(f"{folder}/base").chat == ChatFormat(opening="=")
    assert r.open(folder)["base"].model().chat == ChatFormat(opening="=")
    record(folder, "base", settings=own)
    place = locate_model(f"{folder}/base")
    assert (place.chat, place.stage, place.path) == (ChatFormat(opening="+"), "base", folder / "base")
    assert locate_model(f"{folder}/base", "smollm_2").chat == SMOLLM_2
    record(folder, "base", settings={}, parents={})


def test_a_stage_by_its_folder_alone_gives_the_same_replies(folder: Path):
    named, alone = r.load(f"{folder}/base"), r.load(folder / "base", ChatFormat())
    assert named.generate([QUESTION], 16, max_new_tokens=8) == alone.generate([QUESTION], 16, max_new_tokens=8)


def test_a_model_of_no_run_is_asked_in_the_format_that_is_given(gguf: Path):
    model = r.load(gguf, chat=SHORT)
    assert model.chat == SHORT and model.config.layers == 2
    [[reply]] = model.generate(["1"], temperature=0.0, max_new_tokens=4)
    assert isinstance(reply, str)


def test_a_model_whose_format_nobody_knows_is_refused_with_the_names_of_formats(gguf: Path):
    with pytest.raises(InputError, match="in which chat format this model is asked.*--chat NAME.*smollm_2, qwen_2_5"):
        find_model(str(gguf))
    with pytest.raises(InputError, match="no single id for '<bos>'"):
        find_model(str(gguf), "gemma")
    with pytest.raises(InputError, match="did you mean 'gemma'"):
        find_model(str(gguf), "gema")


def test_a_stage_that_is_not_there_or_has_no_model_is_refused_with_those_that_are(folder: Path):
    offer = "stages with a model are base"
    for path, message in (
        (folder, f"is a run; name one of its stages too: {offer}"),
        (folder / "nothing", f"has no finished stage 'nothing'; {offer}"),
        (folder / "zero", f"has no finished stage 'zero'; {offer}"),
        (folder / "corpus", f"stage corpus left records, no checkpoint to ask; {offer}"),
        (folder / "base" / "checkpoint", "is not a run's folder .* holds no model by itself"),
    ):
        with pytest.raises(InputError, match=message):
            locate_model(str(path))
