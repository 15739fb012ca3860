"""Preparing: rows and a tokenizer that later stages can read, the same every time, and nothing lost silently."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_stages
from tiny_stages import BASE, CORPUS, DEMONSTRATIONS, LENGTH, TEST, TRAIN, Surroundings, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, every_reply, last_reply
from reasoning.data.mixture import Mixture
from reasoning.data.packing import Packer, concat_then_split, first_fit
from reasoning.data.records import read_records, take_rows
from reasoning.data.sources import Generated, Jsonl
from reasoning.stages import Cut, Prepare, TokenizerTraining
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.write_answers import WriteAnswers


def rows_of(artifact: Artifact) -> list[dict[str, np.ndarray]]:
    records = read_records(artifact.records_folder)
    return take_rows(records, range(len(records)))


def test_every_document_can_be_read_back_from_the_rows(corpus: Artifact):
    tokenizer = tokenizer_of(corpus)
    found = []
    for row in rows_of(corpus):
        for segment in range(1, row["segments"].max() + 1):
            found.append(tokenizer.decode(row["tokens"][row["segments"] == segment]))
    chat = ChatFormat()
    written = [document.text() for document in CORPUS.sources[0].documents(chat, CORPUS.seed)]
    assert sorted(found) == sorted(written) and len(found) == 300


def test_the_tally_counts_what_the_rows_hold(corpus: Artifact):
    rows = rows_of(corpus)
    assert corpus.kind == "records"
    assert corpus.results["documents"] == 300 and corpus.results["dropped"] == 0
    assert corpus.results["rows"] == len(rows)
    assert corpus.results["tokens"] == sum((row["segments"] > 0).sum() for row in rows)
    assert corpus.results["learnt"] == sum(row["loss_mask"].sum() for row in rows)
    assert corpus.results["fill"] == corpus.results["tokens"] / (len(rows) * LENGTH)


def test_every_symbol_of_the_chat_and_every_asked_one_is_a_single_id(corpus: Artifact):
    tokenizer = tokenizer_of(corpus)
    for symbol in (*ChatFormat().symbols(), "+8", "-0"):
        assert tokenizer.encode(symbol) == [tokenizer.symbol_id(symbol)]


def test_a_peek_shows_the_rows_that_a_run_writes(corpus: Artifact):
    tokenizer, rows = CORPUS.peek(3)
    written = rows_of(corpus)
    assert tokenizer.model == tokenizer_of(corpus).model and len(rows) == 3
    for row, other in zip(rows, written, strict=False):
        assert all(np.array_equal(row[name], other[name]) for name in other)


def test_a_peek_follows_the_tokenizer_through_stages_that_train_and_refuses_what_has_to_run():
    rows = replace(CORPUS, name="rows", tokenizer=Cut(name="cut", start=BASE, layers=(0,)))
    assert rows.tokenizer_at_hand().model == CORPUS.tokenizer_at_hand().model
    said = WriteAnswers(name="said", problems=TRAIN, tokenizer=CORPUS)
    collected = replace(rows, conversations=(said,))
    with pytest.raises(InputError, match="what said collect, which have to run first"):
        collected.peek(1)
    with pytest.raises(InputError, match="which tokenizer stage said leaves"):
        replace(CORPUS, tokenizer=said).peek(1)


def test_the_same_settings_give_the_same_bytes_whatever_the_seed_of_the_run(corpus: Artifact, tmp_path: Path):
    again = work(CORPUS, tmp_path, surroundings=Surroundings(seed=7))
    files = sorted(path.relative_to(corpus.path) for path in corpus.path.rglob("*") if path.is_file())
    assert len(files) > 3
    for file in files:
        assert (again.path / file).read_bytes() == (corpus.path / file).read_bytes(), file
    other = work(replace(CORPUS, seed=1), tmp_path / "other")
    assert not np.array_equal(rows_of(other)[0]["tokens"], rows_of(corpus)[0]["tokens"])


def test_a_stage_given_anothers_tokenizer_uses_it(corpus: Artifact, examples: Artifact):
    assert tokenizer_of(examples).model == tokenizer_of(corpus).model
    ids = {symbol: tokenizer_of(corpus).symbol_id(symbol) for symbol in ("<|user|>", "<|assistant|>", "<|end|>")}
    row = rows_of(examples)[0]
    first = row["segments"] == 1
    tokens, learnt = row["tokens"][first], row["loss_mask"][first]
    assert tokens[0] == ids["<|user|>"] and tokens[-1] == ids["<|end|>"]
    reply = np.flatnonzero(tokens == ids["<|assistant|>"])[0] + 1
    assert not learnt[:reply].any() and learnt[reply:].all()


def test_a_tokenizer_without_the_chats_tags_is_refused(corpus: Artifact, tmp_path: Path):
    stage = replace(DEMONSTRATIONS, chat=ChatFormat(think_open="<reason>"))
    with pytest.raises(InputError, match="no single id for '<reason>'"):
        work(stage, tmp_path, {"tokenizer": corpus})


def test_conversations_longer_than_a_row_are_left_out_with_a_warning(corpus: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    short = work(replace(DEMONSTRATIONS, length=16), tmp_path, {"tokenizer": corpus}, surroundings)
    dropped = short.results["dropped"]
    assert 0 < dropped < 60
    [warning] = surroundings.warnings
    assert f"stage examples: {dropped} of 60 conversations are longer than a row of 16 tokens" in warning


def test_the_report_ends_with_the_numbers_of_documents_and_rows(tmp_path: Path):
    surroundings = Surroundings()
    made = work(CORPUS, tmp_path, surroundings=surroundings)
    last = surroundings.reports[-1]
    assert (last.stage, last.step, last.steps, last.tokens) == ("corpus", 1, 1, made.results["tokens"])
    assert last.values == {name: made.results[name] for name in ("documents", "rows", "fill")}


def talk_of(folder: Path, *lines: str) -> Prepare:
    """The stage that packs a file of these lines, with a tokenizer of its own."""
    (folder / "talk.jsonl").write_text("".join(f"{line}\n" for line in lines))
    source = Jsonl(str(folder / "talk.jsonl"))
    return replace(CORPUS, sources=(source,), tokenizer=TokenizerTraining(kind="char", size=60), length=64)


def talk(*turns: str, **more: object) -> str:
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)]
    return json.dumps({"messages": messages, **more})


def test_as_many_bad_rows_as_are_allowed_are_passed_over_and_listed(tmp_path: Path):
    lines = (talk("one", "1"), "{", talk("two", "2"), talk("three"), talk("four", "4"))
    stage, surroundings = replace(talk_of(tmp_path, *lines), skip_bad=2), Surroundings()
    made = work(stage, tmp_path, surroundings=surroundings)
    assert (made.results["documents"], made.results["bad_rows"]) == (3, 2)
    listed = (made.path / "bad_rows.txt").read_text()
    path = tmp_path / "talk.jsonl"
    assert [row.partition(": ")[0] for row in listed.splitlines()] == [f"{path}:2", f"{path}:4, messages"]
    [warning] = surroundings.warnings
    assert warning.startswith("stage corpus: 2 bad rows were passed over (skip_bad = 2):\n")
    assert warning.partition("\n")[2].replace("  ", "") == listed.rstrip("\n")
    blocks = work(replace(stage, block=2), tmp_path / "blocks")
    assert (blocks.results["documents"], blocks.results["bad_rows"]) == (3, 2)
    good = work(talk_of(tmp_path, *lines[::2]), tmp_path / "good")
    assert good.results | {"bad_rows": 2} == made.results and not (good.path / "bad_rows.txt").exists()
    for row, other in zip(rows_of(made), rows_of(good), strict=True):
        assert all(np.array_equal(row[name], other[name]) for name in row)
    assert len(stage.peek(4)[1]) == len(rows_of(made))


def test_one_bad_row_more_stops_the_stage_with_the_list_and_leaves_no_rows(tmp_path: Path):
    stage = talk_of(tmp_path, talk("one", "1"), "{", talk("two", "2"), "[")
    (tmp_path / "out").mkdir()
    for allowed, match in ((0, r"talk.jsonl:2: not JSON"), (1, r"(?s)stage corpus: more than 1 bad rows.*:2: .*:4: ")):
        with pytest.raises(InputError, match=match):
            stage_run = replace(stage, skip_bad=allowed)
            stage_run.run({}, tmp_path / "out", Surroundings().context())
        assert not (tmp_path / "out" / "records").exists() and not (tmp_path / "out" / "bad_rows.txt").exists()


def test_another_process_passes_over_the_same_rows_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Cleaning is process 0's work, which leaves it to the others in the folder that they share.
    stage = replace(talk_of(tmp_path, talk("one", "1"), "{", talk("two", "2")), skip_bad=1, cleaning=())
    first = work(stage, tmp_path)
    monkeypatch.setattr("jax.process_index", lambda: 1)
    second = work(stage, tmp_path / "second")
    assert first.results["bad_rows"] == second.results["bad_rows"] == 1
    assert list(second.path.iterdir()) == []


def test_the_last_reply_alone_is_learnt_where_that_is_asked_for(tmp_path: Path):
    stage = talk_of(tmp_path, talk("one", "1", "two", "2"), talk("a", "b"))
    (every,), (last,) = (
        rows_of(work(replace(stage, learn=learn), tmp_path / learn.__name__)) for learn in (every_reply, last_reply)
    )
    assert np.array_equal(every["tokens"], last["tokens"])
    assert every["loss_mask"].sum() == 6 and last["loss_mask"].sum() == 4  # a digit or letter and the end, each
    with pytest.raises(InputError, match=r"stage corpus: .*wrong .* gave 'no'; learn must return a Document"):
        work(replace(stage, learn=wrong), tmp_path / "wrong")


def wrong(document):
    return "no"


def test_rows_of_a_run_that_was_killed_just_after_writing_them_are_written_anew(corpus: Artifact, tmp_path: Path):
    work(CORPUS, tmp_path)
    again = work(CORPUS, tmp_path)
    assert again.results == corpus.results
    np.testing.assert_equal(rows_of(again), rows_of(corpus))


def test_plain_documents_of_an_own_writer_make_a_corpus_of_their_own(tmp_path: Path):
    training = replace(tiny_stages.CORPUS.tokenizer, symbols=tuple)
    stage = replace(CORPUS, sources=(Generated(tiny_stages.plain, count=9),), tokenizer=training)
    made = work(stage, tmp_path)
    tokenizer = tokenizer_of(made)
    assert tokenizer.vocabulary_size == 2 + 9 + 3  # padding, unknown, the chat's symbols, a b c
    assert made.results["tokens"] == sum(2 + 3 * (1 + index % 3) for index in range(9))


@pytest.mark.parametrize("packer", [first_fit, concat_then_split])
def test_a_bad_line_is_told_by_file_and_line_and_nothing_else(corpus: Artifact, tmp_path: Path, packer: Packer):
    file = tmp_path / "lines.jsonl"
    file.write_text('{"text": "1+1=2"}\n{"text": 3}\n')
    stage = replace(DEMONSTRATIONS, sources=(Jsonl(str(file)),), packer=packer)
    with pytest.raises(InputError, match="lines.jsonl:2, text: expected .* got '3'$") as complaint:
        work(stage, tmp_path, {"tokenizer": corpus})
    assert not hasattr(complaint.value, "__notes__")


def two_sources(**changes: object):
    sources = (Generated(tiny_stages.plain, count=200), Generated(longer, count=50))
    training = replace(tiny_stages.CORPUS.tokenizer, symbols=tuple)
    return replace(CORPUS, sources=sources, tokenizer=training, **changes)


def longer(seed: int, index: int, chat: ChatFormat) -> Document:
    return chat.plain("xyz" * (3 + index % 5))


def test_a_mixture_gives_each_source_its_share_of_the_tokens_in_the_rows(tmp_path: Path):
    mixture = Mixture(shares=(0.3, 0.7), epochs=(1.0, 2.0))
    made = work(two_sources(mixture=mixture), tmp_path)
    tokenizer = tokenizer_of(made)
    own = [tokenizer.encode(letter)[0] for letter in "ax"]
    shares = [0, 0]
    for row in rows_of(made):
        for segment in range(1, row["segments"].max() + 1):
            tokens = row["tokens"][row["segments"] == segment]
            shares[0 if own[0] in tokens else 1] += len(tokens)
    assert abs(shares[0] / sum(shares) - 0.3) < 0.01
    assert [made.results[f"mixture/{place}/tokens"] for place in (0, 1)] == shares
    assert made.results["mixture/1/epochs"] == 2.0 and made.results["mixture/0/share"] == shares[0] / sum(shares)
    assert not (made.path / "pieces").exists()


def test_a_source_that_runs_dry_before_its_share_is_told_of(tmp_path: Path):
    surroundings = Surroundings()
    mixture = Mixture(shares=(0.1, 0.9), tokens=1000)
    made = work(two_sources(mixture=mixture), tmp_path, surroundings=surroundings)
    [warning] = surroundings.warnings
    assert "stage corpus: source 1 of the mixture (Generated) ran dry after" in warning
    assert ", not 0.9; allow it more epochs" in warning
    assert 1000 <= made.results["tokens"] < 1000 + 11


@pytest.mark.parametrize("settings", [{"block": 32}, {"mixture": Mixture(shares=(0.3, 0.7))}])
def test_a_peek_shows_the_rows_of_blocks_and_mixtures(tmp_path: Path, settings):
    stage = two_sources(**settings)
    written = rows_of(work(stage, tmp_path))
    _, rows = stage.peek(len(written) + 1)
    np.testing.assert_equal(rows, written)


def test_blocks_hold_all_documents_and_the_same_bytes_after_a_run_that_died(tmp_path: Path):
    stage = two_sources(block=32, mixture=Mixture(shares=(0.3, 0.7)))
    whole = work(stage, tmp_path)
    died = tmp_path / "again"

    class Died(Surroundings):
        def context(self):
            def report(progress):
                if progress.values.get("documents") == 64:
                    raise KeyboardInterrupt

            return replace(super().context(), report=report)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("reasoning.stages.pieces._TOLD", 16)
        work(stage, died, surroundings=Died())
    assert (died / "corpus" / "pieces").exists() and not (died / "corpus" / "records").exists()
    again = work(stage, died)
    assert again.results == whole.results
    for file in sorted(path.relative_to(whole.path) for path in whole.path.rglob("*") if path.is_file()):
        assert (again.path / file).read_bytes() == (whole.path / file).read_bytes(), file


def test_a_mixture_that_does_not_fit_its_sources_is_refused():
    with pytest.raises(InputError, match="mixture has 1 shares and there are 2 sources"):
        two_sources(mixture=Mixture(shares=(1.0,)))
    with pytest.raises(InputError, match="drop ratio and the sources' weights"):
        replace(two_sources(), sources=(Generated(longer, count=5, weight=2.0),), mixture=Mixture(shares=(1.0,)))


def test_exams_are_kept_out_of_files_and_make_no_difference_where_a_program_writes():
    assert CORPUS.shunning({"exam": TEST}) is CORPUS and not CORPUS.shuns(TEST)
    reading = replace(CORPUS, sources=(*CORPUS.sources, Jsonl("a.jsonl")))
    told = reading.shunning({"exam": TEST})
    assert told.shuns(TEST) and not told.shuns(TRAIN) and not reading.shuns(TEST)
    assert replace(reading, cleaning=()).shunning({"exam": TEST}) == replace(reading, cleaning=())
