"""What is known of a stage's inputs before it runs, and what is assumed where it isn't."""

from dataclasses import replace

import pytest
from planned import place_of
from tiny_stages import BASE, CORPUS, MODEL, NEW_TOKENS, TRAIN, Surroundings, reinforce

from reasoning.core.errors import InputError
from reasoning.rollouts.text import encode_prompts
from reasoning.stages.place import Compiling, asked_of, row_length
from reasoning.stages.pretrained import Pretrained

MESH = Surroundings().context().mesh
ABSENT = Pretrained(name="absent", path="no/such/model", model=MODEL)


def place_with(notes: list[str], **changes):
    return replace(place_of(MESH, **changes), note=notes.append)


def test_prompts_are_counted_where_the_tokenizer_can_be_told():
    notes: list[str] = []
    place = place_with(notes)
    asked = asked_of(place, "zero", reinforce(), BASE, MODEL.context)
    prompts = encode_prompts(TRAIN.problems(), reinforce().chat, CORPUS.tokenizer_at_hand(), NEW_TOKENS, MODEL.context)
    assert (asked.prompts, asked.longest) == (8, max(map(len, prompts))) and notes == []
    assert list(place.tokenizers) == ["corpus"]


def test_where_it_is_not_at_hand_the_longest_prompt_is_assumed_and_that_is_said():
    notes: list[str] = []
    asked = asked_of(place_with(notes, prompt=11), "zero", reinforce(), ABSENT, MODEL.context)
    assert asked.longest == 11
    assert "its tokenizer isn't at hand" in notes[0] and "taken to have 11 tokens (--prompt-tokens)" in notes[1]
    assert asked_of(place_with([], prompt=999), "zero", reinforce(), ABSENT, 32).longest == 32 - NEW_TOKENS


def test_a_context_without_room_for_a_prompt_is_refused():
    with pytest.raises(InputError, match="leaves no room for a prompt in the model's context of 8"):
        asked_of(place_with([]), "zero", reinforce(), ABSENT, NEW_TOKENS)


def test_rows_are_as_long_as_their_stage_says():
    assert row_length("base", CORPUS) == CORPUS.length
    with pytest.raises(InputError, match="stage base: how long the rows of its data base are can't be told"):
        row_length("base", BASE)


def test_stages_that_compile_say_so():
    assert isinstance(BASE, Compiling) and isinstance(reinforce(), Compiling) and not isinstance(CORPUS, Compiling)
