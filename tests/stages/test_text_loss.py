from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planned import not_run
from tiny_stages import BASE, CORPUS, LENGTH, Surroundings, log_losses, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document
from reasoning.data.records import read_records, take_rows
from reasoning.data.sources import Generated
from reasoning.stages import TextLoss
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of
from reasoning.stages.text_loss import ratio_with_interval, row_bytes


def sums(seed: int, index: int, chat: ChatFormat) -> Document:
    drawn = np.random.default_rng((seed, index))
    return chat.plain("".join(f"{drawn.choice(list('+-'))}{drawn.integers(10)}" for _ in range(2 + index % 7)))


HELD = replace(CORPUS, name="held", sources=(Generated(sums, count=30),), seed=5, tokenizer=CORPUS)


@pytest.fixture(scope="module")
def held(tmp_path_factory, corpus: Artifact) -> Artifact:
    return work(HELD, tmp_path_factory.mktemp("held"), {"tokenizer": corpus})


def test_bits_a_byte_are_the_whole_logits_cross_entropy_over_the_texts_bytes(
    base: Artifact, held: Artifact, tmp_path: Path
):
    stage = TextLoss(name="texts", readers=(BASE,), texts=(HELD,), batch=4)
    results = work(stage, tmp_path, {"readers": (base,), "texts": (held,)}).results
    surroundings = Surroundings().context()
    model = model_of(base, surroundings.mesh)
    records = read_records(held.records_folder)
    losses = log_losses(model, params_of(base, model, surroundings.mesh), take_rows(records, range(len(records))))
    written = HELD.sources[0].documents(ChatFormat(begin="", end=""), 5)
    size = sum(len(document.text().encode()) for document in written)
    expected = sum(losses) / np.log(2) / size
    assert results["held/base/bits_per_byte"] == pytest.approx(expected, rel=1e-5)
    assert results["held/base/bits_per_byte/low"] < expected < results["held/base/bits_per_byte/high"]


def test_the_programs_that_it_tells_are_those_that_it_runs(base: Artifact, held: Artifact, tmp_path: Path):
    stage = TextLoss(name="texts", readers=(BASE,), texts=(HELD,), batch=4)
    assert not_run(stage, tmp_path, {"readers": (base,), "texts": (held,)}) == []


def test_a_second_reader_is_compared_row_by_row(base: Artifact, held: Artifact, tmp_path: Path):
    other = work(replace(BASE, name="less", steps=2), tmp_path, {"data": held})
    stage = TextLoss(name="texts", readers=(replace(BASE, name="less"), BASE), texts=(HELD,), batch=8)
    results = work(stage, tmp_path, {"readers": (other, base), "texts": (held,)}).results
    change = results["held/base/bits_per_byte"] - results["held/less/bits_per_byte"]
    assert results["held/base/minus_less"] == pytest.approx(change, rel=1e-6) and change != 0
    width = results["held/base/minus_less/high"] - results["held/base/minus_less/low"]
    assert 0 < width < 2 * (results["held/less/bits_per_byte/high"] - results["held/less/bits_per_byte/low"])


def test_symbols_spell_nothing_and_cut_documents_count_what_is_predicted(corpus: Artifact, tmp_path: Path):
    text = "+1-2" * 30
    source = Generated(lambda seed, index, chat: chat.plain(text), count=1)
    rows = replace(HELD, name="cut", sources=(source,))
    tokenizer = tokenizer_of(corpus)
    made = read_records(work(rows, tmp_path, {"tokenizer": corpus}).records_folder)
    found = row_bytes(made, tokenizer, ChatFormat())
    ids = tokenizer.encode(ChatFormat().plain(text).text())
    unseen = [tokenizer.decode([ids[start]]) for start in range(LENGTH, len(ids), LENGTH)]  # a part's first token
    assert found.sum() == len(text) - sum(len(spelled) for spelled in unseen if not spelled.startswith("<|"))


def test_the_interval_covers_the_ratio_of_what_rows_are_drawn_from():
    drawn = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        below = drawn.integers(50, 150, 40).astype(float)
        above = 2.5 * below + drawn.normal(0, 20, 40)
        ratio, low, high = ratio_with_interval(above, below)
        assert ratio == above.sum() / below.sum()
        covered += low < 2.5 < high
    assert 0.92 < covered / 400 < 0.98
    assert np.isnan(ratio_with_interval(np.ones(1), np.ones(1))[1])


def test_what_cannot_be_read_is_refused(base: Artifact, corpus: Artifact, held: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="stage none measures texts by their readers; name at least one of each"):
        TextLoss(name="none", readers=(), texts=(HELD,))
    stage = TextLoss(name="texts", readers=(BASE,), texts=(HELD,))
    assert stage.plan() == {"texts read": 1}
    with pytest.raises(InputError, match="base left checkpoint, no rows"):
        work(stage, tmp_path, {"readers": (base,), "texts": (base,)})
    long = work(replace(HELD, name="long", length=2 * LENGTH), tmp_path, {"tokenizer": corpus})
    with pytest.raises(InputError, match="rows of 64 tokens of long exceed the context of base, 32"):
        work(stage, tmp_path, {"readers": (base,), "texts": (long,)})
    training = replace(CORPUS.tokenizer, symbols=tuple)
    other = work(replace(HELD, name="other", tokenizer=training), tmp_path)
    with pytest.raises(InputError, match="other was tokenized otherwise than base reads"):
        work(stage, tmp_path, {"readers": (base,), "texts": (other,)})
