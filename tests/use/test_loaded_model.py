"""A model in a notebook answers as it does in an exam, the same each time, and says what it can't do."""

from collections import Counter

import gguf_file
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_stages
from tiny_stages import TEST, quiz

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_tree
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.exam import candidate_of
from reasoning.evaluation.methods import Greedy
from reasoning.rewards.text import extract_answer
from reasoning.rollouts.text import AS_IT_IS
from reasoning.use.loaded_model import LoadedModel, load_artifact, load_folder

QUESTIONS = [problem.question for problem in TEST.problems()]


@pytest.fixture(scope="module")
def model(base: Artifact) -> LoadedModel:
    return load_artifact(base, ChatFormat(), MeshShape())


def test_it_holds_config_tokenizer_and_the_parameters_that_were_saved(base: Artifact, model: LoadedModel):
    assert model.config == tiny_stages.MODEL and hash_tree(model.params) == base.hash
    assert model.tokenizer.decode(model.tokenizer.encode("+3")) == "+3"


def test_greedy_replies_are_those_of_an_exam(base: Artifact, model: LoadedModel):
    exam = quiz()
    candidate = candidate_of(exam, model.model, build_mesh(MeshShape()), model.tokenizer, lambda: model.params)
    answers = Greedy().replies(candidate, tiny_stages.questions_for(candidate), jax.random.key(0))
    assert model.generate(QUESTIONS, temperature=0.0, max_new_tokens=exam.max_new_tokens) == answers.texts


def test_the_same_seed_gives_the_same_replies_and_another_one_others(model: LoadedModel):
    first = model.generate(QUESTIONS, samples=3, max_new_tokens=8, seed=4)
    assert [len(group) for group in first] == [3, 3, 3, 3]
    assert model.generate(QUESTIONS, samples=3, max_new_tokens=8, seed=4) == first
    assert model.generate(QUESTIONS, samples=3, max_new_tokens=8, seed=5) != first


def test_tokens_of_a_reply_are_scored_as_the_sampler_did_and_by_the_definition(model: LoadedModel):
    reply = model.replies(QUESTIONS, 3, 1.0, max_new_tokens=8, seed=2)[0][0]
    scored = model.score_tokens(QUESTIONS[0], reply.text)
    [prompt], _ = model.prompts(QUESTIONS[:1], 1, AS_IT_IS)
    ids = model.tokenizer.encode(reply.text)
    row = jnp.array([prompt + ids] * jax.device_count())
    places = jnp.broadcast_to(jnp.arange(row.shape[1]), row.shape)
    hidden = jax.jit(model.model.hidden_states)(model.params, row, places, jnp.ones_like(row))[0]
    logits = np.asarray(hidden[0] @ model.model.unembedding(model.params), np.float64)[len(prompt) - 1 : -1]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose([each.log_prob for each in scored], log_probs[range(len(ids)), ids], atol=2e-4)
    np.testing.assert_allclose([each.entropy for each in scored], -(np.exp(log_probs) * log_probs).sum(-1), atol=2e-4)
    assert "".join(each.text for each in scored) == reply.text
    if reply.truncated and len(ids) == reply.length:
        assert sum(each.log_prob for each in scored) == pytest.approx(reply.log_prob, abs=1e-3)
    with pytest.raises(InputError, match="no tokens to be scored"):
        model.score_tokens(QUESTIONS[0], "")


@pytest.mark.slow
def test_replies_are_as_long_as_the_context_allows_where_nobody_says(model: LoadedModel):
    replies = model.generate(QUESTIONS, samples=8)[0]
    longest = max(len(model.tokenizer.encode(text.replace("\ufffd", "A"))) for text in replies)
    prompt = len(model.tokenizer.encode(ChatFormat().prompt(QUESTIONS[0])))
    assert 8 < longest <= model.config.context - prompt


def test_of_one_token_alone_samples_are_the_likeliest_reply(model: LoadedModel):
    likeliest = model.generate(QUESTIONS, temperature=0.0, max_new_tokens=8)
    for rule in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        assert model.generate(QUESTIONS, samples=2, max_new_tokens=8, **rule) == [each * 2 for each in likeliest]
    assert model.vote(QUESTIONS[0], samples=16, max_new_tokens=8, top_k=1).keys() <= {
        extract_answer(likeliest[0][0], ChatFormat())
    }


def test_a_vote_counts_the_answers_of_the_samples_most_first(model: LoadedModel):
    [texts] = model.generate(QUESTIONS[:1], samples=16, max_new_tokens=8, seed=3)
    votes = model.vote(QUESTIONS[0], samples=16, max_new_tokens=8, seed=3)
    lengths = [len(model.tokenizer.encode(text.replace("\ufffd", "A"))) for text in texts]
    given = [
        extract_answer(text, ChatFormat()) for text, length in zip(texts, lengths, strict=True) if length < 8
    ]  # not cut off
    assert votes == Counter(answer for answer in given if answer is not None)
    assert list(votes.values()) == sorted(votes.values(), reverse=True) and len(votes) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"questions": "+1+1?"}, r"generate takes a list of questions, not '\+1\+1\?'; write generate\(\[question\]\)"),
        ({"questions": []}, "generate takes a list of questions"),
        ({"questions": ["what?"]}, "the vocabulary has no id for"),
        ({"questions": QUESTIONS, "samples": 0}, "0 replies at temperature 1.0 can't be sampled"),
        ({"questions": QUESTIONS, "temperature": -1.0}, "at temperature -1.0 can't be sampled"),
        ({"questions": QUESTIONS, "top_p": 0.0}, "no token can be drawn with top_k 0, top_p 0.0"),
        ({"questions": QUESTIONS, "max_new_tokens": 99}, "more than|exceed the model's context of 32"),
    ],
)
def test_what_can_not_be_asked_is_refused(model: LoadedModel, arguments: dict, message: str):
    with pytest.raises(InputError, match=message):
        model.generate(**arguments)


def test_a_chat_format_that_the_tokenizer_does_not_know_is_refused(base: Artifact):
    with pytest.raises(InputError, match="no single id for '<user>'"):
        load_artifact(base, ChatFormat(user="<user>"), MeshShape())


def test_a_model_that_the_devices_can_not_hold_is_refused_before_it_is_read(base: Artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("reasoning.core.mesh.memory_bytes", lambda mesh: 1000)
    gguf_file.write(tmp_path / "model.gguf")
    for load in (
        lambda: load_artifact(base, None, MeshShape()),
        lambda: load_folder(tmp_path / "model.gguf", None, MeshShape()),
    ):
        with pytest.raises(InputError, match=r"the model has [0-9,]+ parameters, .*the devices hold"):
            load()
