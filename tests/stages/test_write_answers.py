"""Answers as training data, right ones and soft labels; their loss against a softmax of whole logits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batched import token_batch
from scipy.special import log_softmax
from tiny_stages import CORPUS, TRAIN, Surroundings, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.documents import WHOLE
from reasoning.data.packing import COLUMNS
from reasoning.data.records import read_records, take_rows
from reasoning.models.model import Model
from reasoning.objectives.aggregation import token_mean
from reasoning.rewards.accuracy import answered
from reasoning.stages import Prepare
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of
from reasoning.stages.write_answers import WriteAnswers
from reasoning.tasks.capitals import Capitals
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.training.losses import supervised


def rows_of(artifact: Artifact) -> list[dict[str, str]]:
    records = read_records(artifact.records_folder)
    return [{name: value.decode() for name, value in row.items()} for row in take_rows(records, range(len(records)))]


def test_every_problem_has_its_right_answer_and_no_thinking(corpus: Artifact, tmp_path: Path):
    written = work(WriteAnswers(name="known", problems=TRAIN, tokenizer=CORPUS), tmp_path, {"tokenizer": corpus})
    rows, problems = rows_of(written), TRAIN.problems()
    assert [(row["prompt"], row["answer"], row["kind"]) for row in rows] == [
        (problem.question, problem.answer, problem.kind) for problem in problems
    ]
    assert answered([""] * len(rows), [row["completion"] for row in rows], [row["answer"] for row in rows]) == [1.0] * 8
    assert not any("<think>" in row["completion"] for row in rows)
    assert tokenizer_of(written).model == tokenizer_of(corpus).model
    assert written.results == {"kept": 8}


def test_answers_that_the_tokenizer_cannot_write_are_refused(corpus: Artifact, tmp_path: Path):
    facts = ProblemSet((Capitals(),), "train", 3)
    with pytest.raises(InputError, match="has no id for"):
        work(WriteAnswers(name="known", problems=facts, tokenizer=CORPUS), tmp_path, {"tokenizer": corpus})


@dataclass(frozen=True)
class Judged:
    """Sums of which several people said what they are."""

    said: Mapping[str, float]

    def problems(self, split: str, count: int, seed: int) -> tuple[Problem, ...]:
        return tuple(Problem(f"{n}+1=", "2", "sums", {"said": self.said}) for n in range(1, 1 + count))


def soft_rows(said: Any, corpus: Artifact, out: Path) -> tuple[Artifact, Artifact]:
    """What is written of a question with soft labels, and rows of it."""
    asked = ProblemSet((Judged(said),), "train", 1)
    stage = WriteAnswers(name="soft", problems=asked, tokenizer=CORPUS, shares="said", chat=BARE)
    written = work(stage, out, {"tokenizer": corpus})
    rows = Prepare(name="rows", conversations=(stage,), tokenizer=CORPUS, length=16, chat=BARE)
    return written, work(rows, out, {"conversations": (written,), "tokenizer": corpus})


BARE = replace(CORPUS.chat, answer_open="", answer_close="")
SAID = {"2": 14, "3": 5, "4": 1, "5": 0}


def test_with_shares_each_answer_is_written_once_and_weighs_its_share(corpus: Artifact, tmp_path: Path):
    written, rows = soft_rows(SAID, corpus, tmp_path)
    records = read_records(written.records_folder)
    found = {row["completion"].decode(): float(row["loss_weight"]) for row in take_rows(records, range(len(records)))}
    assert found == pytest.approx({"2": 0.7, "3": 0.25, "4": 0.05})
    tokenizer, packed = tokenizer_of(rows), read_records(rows.records_folder)
    weights = {}
    for row in take_rows(packed, range(len(packed))):
        for segment in range(1, row["segments"].max() + 1):
            own = row["segments"] == segment
            answer, end = row["tokens"][own & (row["loss_mask"] > 0)].tolist()
            assert end == tokenizer.symbol_id(BARE.end)
            weights[tokenizer.decode([answer])] = row["loss_mask"][own & (row["loss_mask"] > 0)] / WHOLE
    assert {answer: each.tolist() for answer, each in weights.items()} == {
        answer: pytest.approx([share, share]) for answer, share in (("2", 0.7), ("3", 0.25), ("4", 0.05))
    }


def test_their_loss_is_the_cross_entropy_with_the_shares_as_the_target(
    corpus: Artifact, base: Artifact, tmp_path: Path
):
    """Softmax, loss and their gradient by numpy in float64, from the model's hidden states and unembedding.

    At the answer's place the target is the shares, at each answer's end it is that end, which weighs the share; the
    gradient of the logits is softmax less target. Only the model itself, before the logits, is differentiated by JAX.
    """
    _, prepared = soft_rows(SAID, corpus, tmp_path)
    mesh = Surroundings().context().mesh
    model = model_of(base, mesh)
    params, tokenizer = params_of(base, model, mesh), tokenizer_of(base)
    records = read_records(prepared.records_folder)
    rows = take_rows(records, range(len(records)))
    arrays = {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in COLUMNS}
    batch = token_batch(arrays, token_mean, 16)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def soft(params):
        loss, sums, _ = supervised(model)(params, {}, batch)
        return loss, sums["cross_entropy"]

    (loss, (total, weight)), gradient = soft(params)
    prompt, end = tokenizer.encode(BARE.prompt("1+1=")), tokenizer.symbol_id(BARE.end)
    shares = {tokenizer.encode(answer)[0]: count / 20 for answer, count in SAID.items() if count}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
    targets = [(prompt, shares), *(([*prompt, token], {end: share}) for token, share in shares.items())]
    wanted, pulled, read, pull = 0.0, [], *reader(model)
    for ids, target in targets:
        ids_T, place = np.array([*ids, *[0] * (len(prompt) + 1 - len(ids))]), len(ids) - 1
        hidden_D, unembedding_DV = read(params, ids_T, place)
        hidden, unembedding = np.asarray(hidden_D, np.float64), np.asarray(unembedding_DV, np.float64)
        target_V = np.zeros(unembedding.shape[1])
        target_V[list(target)] = list(target.values())
        log_probs_V = log_softmax(hidden @ unembedding)
        wanted -= target_V @ log_probs_V
        apart_V = np.exp(log_probs_V) * target_V.sum() - target_V
        to_hidden, to_unembedding = unembedding @ apart_V, np.outer(hidden, apart_V)
        cotangents = jnp.asarray(to_hidden, hidden_D.dtype), jnp.asarray(to_unembedding, unembedding_DV.dtype)
        pulled.append(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), pull(params, ids_T, place, cotangents)))
    wanted_gradient = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *pulled)
    tokens = 2 * len(shares)  # an answer's tokens and its end, of all that carry loss
    assert float(loss) * tokens == pytest.approx(wanted, rel=1e-5)
    assert float(total) / float(weight) == pytest.approx(wanted / 2, rel=1e-5)
    assert float(weight) == pytest.approx(2.0)
    jax.tree.map(
        lambda found, each: np.testing.assert_allclose(tokens * found, each, rtol=1e-3, atol=1e-5),
        gradient,
        wanted_gradient,
    )


def reader(model: Model) -> tuple[Callable, Callable]:
    """Gives the hidden state at a place of a text, and the unembedding; and what parameters get of their gradients."""

    def read(params, ids_T, place):
        hidden_1TD, _ = model.hidden_states(
            params, ids_T[None], jnp.arange(len(ids_T))[None], jnp.ones_like(ids_T)[None]
        )
        return hidden_1TD[0, place], model.unembedding(params)

    def pull(params, ids_T, place, cotangents):
        return jax.vjp(lambda params: read(params, ids_T, place), params)[1](cotangents)[0]

    return jax.jit(read), jax.jit(pull)


@pytest.mark.parametrize("said", [None, {}, {"2": 0}, {"2": "all"}, {"2": -1, "3": 2}, {"2": float("inf")}, [1, 2]])
def test_shares_that_are_none_are_refused(said: Any, corpus: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="in its column 'said'; it must be an object that gives each answer a number"):
        soft_rows(said, corpus, tmp_path)
