"""One question to a run's model: the replies are the engine's, the vote is counted, and what can't be asked is said."""

from pathlib import Path

import numpy as np
import pytest
from tiny_run import write_tiny_run
from tiny_stages import TEST

from reasoning.core.errors import InputError
from reasoning.core.text import printable
from reasoning.data.chat.format import ChatFormat
from reasoning.generation.prompts import PromptStyle
from reasoning.rewards.text import extract_answer
from reasoning.use.ask import Ballot, count_votes, likeliest_reply, search_replies, style_named
from reasoning.use.find_model import find_model
from reasoning.use.loaded_model import LoadedModel, ModelReply

QUESTION = TEST.problems()[0].question


@pytest.fixture(scope="module")
def folder(corpus, base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("asked"), corpus, base)


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return find_model(f"{folder}/base")


def test_replies_are_those_of_the_model_and_answers_are_read_from_them(model: LoadedModel):
    [replies] = model.replies([QUESTION], 16, 1.0, 8, seed=3)
    assert [reply.text for reply in replies] == model.generate([QUESTION], 16, 1.0, 8, seed=3)[0]
    assert {reply.truncated for reply in replies} == {True, False}
    for reply in replies:
        assert reply.answer == (None if reply.truncated else extract_answer(reply.text, ChatFormat()))
        assert reply.log_prob < 0 and 1 <= reply.length <= 8
    assert model.replies([QUESTION], 16, 1.0, 8, seed=4) != [replies]


def test_at_temperature_zero_there_is_one_reply_whatever_the_seed(model: LoadedModel):
    [one], [other] = (model.replies([QUESTION], 16, 0.0, 8, seed) for seed in (0, 1))
    assert one == other and len(set(one)) == 1


def test_the_likeliest_reply_is_shown_piece_by_piece_as_it_is_written(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reasoning.use.ask._SHOWN_EVERY", 1)
    pieces: list[str] = []
    reply = likeliest_reply(model, QUESTION, pieces.append, 8, style_named("think", model.chat))
    assert [(reply,)] == model.replies([QUESTION], 1, 0.0, 8, style=style_named("think", model.chat))
    assert "".join(pieces) == printable(reply.text) and pieces[-1] == "" and len(pieces) > 2


def test_a_style_begins_the_reply(model: LoadedModel):
    chat = ChatFormat()
    for name, opening in (("plain", ""), ("think", "<think>"), ("direct", "<answer>")):
        style = style_named(name, chat)
        [[reply]] = model.replies([QUESTION], 1, 0.0, 8, style=style)
        assert style.opening == opening and reply.text.startswith(opening)
    assert style_named("plain", chat) == PromptStyle()
    with pytest.raises(InputError, match="there is no style 'cot'; there are plain, think, direct"):
        style_named("cot", chat)


def test_a_search_gives_its_completions_best_first(model: LoadedModel):
    found = search_replies(model, QUESTION, 4, 8)
    scores = [score for _, score in found]
    assert len(found) == 4 and scores == sorted(scores, reverse=True)
    for reply, score in found:
        assert np.isclose(score, reply.log_prob / reply.length, rtol=1e-4)
    [[greedy]] = model.replies([QUESTION], 1, 0.0, 8)
    assert search_replies(model, QUESTION, 1, 8)[0][0].text == greedy.text


def reply(answer: str | None, log_prob: float, text: str = "") -> ModelReply:
    return ModelReply(text or f"={answer}", answer, log_prob, 2, answer is None)


def test_a_vote_counts_answers_and_weighs_them_by_probability():
    given = [reply(None, -0.5), reply("7", -1.0), reply("6", -3.0, "first"), reply("6", -3.0, "second")]
    vote = count_votes(given)
    share = np.exp(-1.0) / (np.exp(-1.0) + 2 * np.exp(-3.0))
    assert [(ballot.answer, ballot.votes) for ballot in vote.ballots] == [("6", 2), ("7", 1), (None, 1)]
    np.testing.assert_allclose([ballot.weight for ballot in vote.ballots], [1 - share, share, 0.0])
    assert vote.ballots[0].example.text == "first"
    assert (vote.majority, vote.weighted) == ("6", "7")


def test_answers_of_one_value_share_a_ballot_under_the_first_spelling():
    given = [reply("7", -1.0), reply("$6.00", -1.0, "first"), reply("6", -1.0), reply("6.0", -1.0), reply("Six", -9.0)]
    vote = count_votes(given)
    assert [(ballot.answer, ballot.votes) for ballot in vote.ballots] == [("$6.00", 3), ("7", 1), ("Six", 1)]
    assert vote.ballots[0].example.text == "first" and vote.majority == vote.weighted == "$6.00"


def test_a_vote_without_answers_and_one_of_all_different_answers():
    vote = count_votes([reply(None, -1.0), reply(None, -2.0)])
    assert vote.ballots == (Ballot(None, 2, 0.0, reply(None, -1.0)),)
    assert vote.majority is vote.weighted is None
    different = count_votes([reply("1", -9.0), reply("2", -1.0), reply("3", -5.0)])
    assert [ballot.answer for ballot in different.ballots] == ["1", "2", "3"]
    assert (different.majority, different.weighted) == ("1", "2")


def test_a_question_that_does_not_fit_is_refused(model: LoadedModel):
    with pytest.raises(InputError, match="no id for 'ω' in"):
        model.replies(["3ω?"], 1, 0.0)
    with pytest.raises(InputError, match="of 33 tokens and 1 new ones make 34, more than the model's context of 32"):
        model.replies(["1" * 31], 1, 0.0)
    with pytest.raises(InputError, match="30 new ones make 3[0-9], more than the model's context of 32"):
        search_replies(model, QUESTION, 2, 30)
    [whole] = model.replies(["1" * 29], 4, 1.0)  # room for one token
    assert {reply.length for reply in whole} == {1}


@pytest.mark.parametrize(("count", "temperature"), [(0, 1.0), (1, -0.5), (1, float("nan")), (1, float("inf"))])
def test_no_replies_and_no_temperature_are_refused(model: LoadedModel, count: int, temperature: float):
    with pytest.raises(InputError, match="can't be sampled"):
        model.replies([QUESTION], count, temperature)
    with pytest.raises(InputError, match="0 beams"):
        search_replies(model, QUESTION, 0)
