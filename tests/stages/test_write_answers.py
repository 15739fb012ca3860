"""Answers as training data, right ones and soft labels; their loss against a softmax of whole logits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_stages import CORPUS, TRAIN, Surroundings, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.documents import WHOLE
from reasoning.data.packing import COLUMNS
from reasoning.data.records import read_records, take_rows
from reasoning.objectives.aggregation import token_mean
from reasoning.rewards.accuracy import answered
from reasoning.stages import Prepare
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of
from reasoning.stages.write_answers import WriteAnswers
from reasoning.tasks.capitals import Capitals
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.training.batches import token_batch
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
    """In float64: at the answer's place the target is a distribution; its gradient there is softmax less shares."""
    _, prepared = soft_rows(SAID, corpus, tmp_path)
    mesh = Surroundings().context().mesh
    model = model_of(base, mesh)
    params, tokenizer = params_of(base, model, mesh), tokenizer_of(base)
    records = read_records(prepared.records_folder)
    rows = take_rows(records, range(len(records)))
    arrays = {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in COLUMNS}
    batch = token_batch(arrays, token_mean, 16)

    def soft(params):
        loss, sums, _ = supervised(model)(params, {}, batch)
        return loss, sums["cross_entropy"]

    (loss, (total, weight)), gradient = jax.value_and_grad(soft, has_aux=True)(params)
    prompt = tokenizer.encode(BARE.prompt("1+1="))
    shares = {tokenizer.encode(answer)[0]: count / 20 for answer, count in SAID.items() if count}

    def log_softmax_at(params, ids, place):
        ids = jnp.asarray([ids])
        hidden, _ = model.hidden_states(params, ids, jnp.arange(ids.shape[1])[None], jnp.ones_like(ids))
        return jax.nn.log_softmax(hidden[0, place].astype(jnp.float32) @ model.unembedding(params))

    def expected(params):
        """The target of the answer is the shares; each answer's end weighs its share."""
        target = (
            jnp.zeros(model.config.vocabulary).at[jnp.asarray(list(shares))].set(jnp.asarray(list(shares.values())))
        )
        at_answer = -jnp.sum(target * log_softmax_at(params, prompt, -1))
        end = tokenizer.symbol_id(BARE.end)
        return at_answer - sum(
            share * log_softmax_at(params, [*prompt, token], -1)[end] for token, share in shares.items()
        )

    wanted, wanted_gradient = jax.value_and_grad(expected)(params)
    tokens = 2 * len(shares)  # an answer's tokens and its end, of all that carry loss
    assert float(loss) * tokens == pytest.approx(float(wanted), rel=1e-5)
    assert float(total) / float(weight) == pytest.approx(float(wanted) / 2, rel=1e-5)
    assert float(weight) == pytest.approx(2.0)
    jax.tree.map(
        lambda found, each: np.testing.assert_allclose(tokens * found, each, rtol=1e-3, atol=1e-5),
        gradient,
        wanted_gradient,
    )


@pytest.mark.parametrize("said", [None, {}, {"2": 0}, {"2": "all"}, {"2": -1, "3": 2}, {"2": float("inf")}, [1, 2]])
def test_shares_that_are_none_are_refused(said: Any, corpus: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="in its column 'said'; it must be an object that gives each answer a number"):
        soft_rows(said, corpus, tmp_path)
