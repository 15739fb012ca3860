import json
import sys
from dataclasses import dataclass

import grain
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.records import write_records
from reasoning.data.sources import Generated, Interleaved, Jsonl, Parquet, TextFolder, Tfds, find_files, mix

CHAT = ChatFormat()


class ToyQuestions(tfds.core.GeneratorBasedBuilder):
    """Five sums, as a dataset that TFDS knows by name."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # as for a class typed into a notebook: there are no checksums beside its file to look for

    def _info(self):
        features = {"question": tfds.features.Text(), "answer": tfds.features.Text()}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 5), "test": self._generate_examples(5, 7)}

    def _generate_examples(self, start, stop):
        for number in range(start, stop):
            yield number, {"question": f"{number}+{number}?", "answer": str(2 * number)}


@dataclass(frozen=True)
class Named:
    name: str
    count: int
    weight: float

    def documents(self, chat, seed):
        return Generated(lambda seed, index, chat: chat.plain(f"{self.name}{index}"), self.count).documents(chat, seed)


def write_lines(path, *rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_generated_documents_depend_on_seed_and_number_alone():
    source = Generated(lambda seed, index, chat: chat.plain(f"{seed}:{index}"), 3)
    documents = source.documents(CHAT, 7)
    assert [documents[2], documents[0]] == [CHAT.plain("7:2"), CHAT.plain("7:0")]
    assert list(documents) == [CHAT.plain(f"7:{index}") for index in range(3)]


def test_jsonl_reads_every_layout_and_a_glob_of_files_in_order(tmp_path):
    conversation = [{"role": "user", "content": "b?"}, {"role": "assistant", "content": "c"}]
    write_lines(tmp_path / "1.jsonl", {"text": "a\u2028é"}, {"messages": conversation})
    (tmp_path / "2.jsonl").write_text("")
    write_lines(tmp_path / "3.jsonl", {"prompt": "p", "completion": "c"}, {"question": "q", "answer": "r", "level": 1})
    documents = Jsonl(f"{tmp_path}/*.jsonl").documents(CHAT, 0)
    expected = [CHAT.plain("a\u2028é"), CHAT.document(conversation), CHAT.exchange("p", "c"), CHAT.exchange("q", "r")]
    assert list(documents) == expected
    assert [documents[index] for index in (3, 0, 2, 1)] == [expected[index] for index in (3, 0, 2, 1)]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"text": NaN}', "NaN"),
        ('{"text": "a", "n": 1e999}', "1e999"),
        ('{"text": "a", "text": "b"}', "twice"),
        ('{"text": "\\ud800"}', "surrogate"),
        ('{"text": "\\u0000"}', "NUL"),
        ('["text"]', "expected a JSON object, got list"),
        ('{"text": "a"', "not JSON"),
        ('{"text": 3}', "text: expected a text"),
        ('{"body": "a"}', "columns found: body"),
        ('{"text": "a<|end|>"}', r"holds <\|end\|>"),
        ("[" * 100_000, "not plain JSON"),
    ],
)
def test_jsonl_refuses_a_bad_line_with_file_and_line(tmp_path, line, match):
    path = write_lines(tmp_path / "a.jsonl", {"text": "fine"}, line + "\n", {"text": "fine"})
    documents = Jsonl(path).documents(CHAT, 0)
    assert documents[2] == CHAT.plain("fine")
    with pytest.raises(InputError, match=match) as caught:
        list(documents)
    assert f"{path}:2" in str(caught.value)


def test_parquet_reads_rows_across_row_groups_and_files(tmp_path):
    texts = [f"t{number}" for number in range(10)]
    pq.write_table(pa.table({"text": texts[:7], "other": list(range(7))}), tmp_path / "a.parquet", row_group_size=3)
    pq.write_table(pa.table({"text": texts[7:]}), tmp_path / "b.parquet")
    documents = Parquet(f"{tmp_path}/*.parquet").documents(CHAT, 0)
    assert list(documents) == [CHAT.plain(text) for text in texts]
    assert documents[8] == CHAT.plain("t8") and documents[2] == CHAT.plain("t2")


def test_parquet_reads_conversations_and_pairs(tmp_path):
    conversation = [{"role": "user", "content": "b?"}, {"role": "assistant", "content": "c"}]
    pq.write_table(pa.table({"messages": [conversation]}), tmp_path / "m.parquet")
    pq.write_table(pa.table({"problem": ["p"], "solution": ["s"]}), tmp_path / "p.parquet")
    assert list(Parquet(f"{tmp_path}/m.parquet").documents(CHAT, 0)) == [CHAT.document(conversation)]
    pairs = Parquet(f"{tmp_path}/p.parquet", columns=("problem", "solution"))
    assert list(pairs.documents(CHAT, 0)) == [CHAT.exchange("p", "s")]
    with pytest.raises(InputError, match="p.parquet: columns found: problem, solution; none"):
        Parquet(f"{tmp_path}/p.parquet").documents(CHAT, 0)


def test_parquet_names_a_null_and_a_broken_file(tmp_path):
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="a.parquet, row 1 of the source, text: expected a text, got None"):
        list(Parquet(f"{tmp_path}/a.parquet").documents(CHAT, 0))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="b.parquet is no readable Parquet file"):
        Parquet(f"{tmp_path}/b.parquet").documents(CHAT, 0)


def test_a_text_folder_gives_its_txt_files_sorted_by_name(tmp_path):
    for name, text in (("b.txt", "second\n"), ("a.txt", "first\r\n"), ("c.md", "no")):
        (tmp_path / name).write_bytes(text.encode())
    assert list(TextFolder(str(tmp_path)).documents(CHAT, 0)) == [CHAT.plain("first\r\n"), CHAT.plain("second\n")]
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfmarked")
    assert list(TextFolder(str(tmp_path)).documents(CHAT, 0))[1] == CHAT.plain("marked")
    (tmp_path / "c.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="c.txt.*not UTF-8"):
        list(TextFolder(str(tmp_path)).documents(CHAT, 0))


def test_tfds_prepares_a_named_builder_and_reads_it_without_tensorflow(tmp_path):
    source = Tfds("toy_questions", split="test", data_dir=str(tmp_path))
    expected = {CHAT.exchange("5+5?", "10"), CHAT.exchange("6+6?", "12")}  # TFDS orders examples by a hash
    assert set(source.documents(CHAT, 0)) == expected
    (folder,) = tmp_path.glob("toy_questions/*")
    assert list(Tfds(str(folder), "test").documents(CHAT, 0)) == list(source.documents(CHAT, 0))
    assert len(Tfds(str(folder), "train[:60%]").documents(CHAT, 0)) == 3
    assert "tensorflow" not in sys.modules


def test_tfds_reads_conversations_from_our_own_records(tmp_path):
    message = {"role": tfds.features.Text(), "content": tfds.features.Text()}
    conversation = [{"role": "user", "content": "é?"}, {"role": "assistant", "content": "c"}]
    write_records(tmp_path / "set", [{"messages": conversation}], {"messages": tfds.features.Sequence(message)})
    assert list(Tfds(str(tmp_path / "set")).documents(CHAT, 0)) == [CHAT.document(conversation)]


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (lambda folder: Tfds("no_such_set_here", data_dir=str(folder)), "no_such_set_here .train.: .*not found"),
        (lambda folder: Tfds(str(folder)), "no readable TFDS dataset"),
        (lambda folder: Tfds(str(folder / "set"), split="test"), r"can't open split 'test' \(there are: train\)"),
        (lambda folder: Tfds(str(folder / "set")), "columns found: x; none of the known layouts"),
        (lambda folder: Jsonl(f"{folder}/*.json"), r"no file matches .*\*.json"),
        (lambda folder: Jsonl(f"{folder}/empty.jsonl"), "empty.jsonl has no documents"),
        (lambda folder: Parquet(f"{folder}/empty.parquet"), "empty.parquet has no documents"),
        (lambda folder: TextFolder(str(folder)), "txt has no documents"),
        (lambda folder: TextFolder(f"{folder}/none"), "no folder"),
    ],
)
def test_a_source_without_documents_says_which_and_why(tmp_path, source, match):
    write_records(tmp_path / "set", [{"x": np.int32(1)}], {"x": tfds.features.Scalar(np.int32)})
    (tmp_path / "empty.jsonl").write_text("")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    with pytest.raises(InputError, match=match):
        source(tmp_path).documents(CHAT, 0)


def test_a_file_name_with_brackets_is_taken_as_it_is(tmp_path):
    (tmp_path / "a[1].txt").write_text("x")
    assert find_files(f"{tmp_path}/a[1].txt") == [tmp_path / "a[1].txt"]


def texts(documents):
    return [document.text().removeprefix("<|begin|>").removesuffix("<|end|>") for document in documents]


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])), min_size=1, max_size=4)
)
@settings(max_examples=60)
def test_each_source_occurs_weight_times_its_size_and_evenly_throughout(parts):
    sizes, weights = zip(*parts, strict=True)
    plan = Interleaved(sizes, weights)
    places = np.array([plan[index] for index in range(len(plan))])
    for number, (size, weight) in enumerate(parts):
        mine = places[places[:, 0] == number]
        assert len(mine) == max(1, round(size * weight))
        repeats = np.bincount(mine[:, 1], minlength=size)
        assert repeats.max() - repeats.min() <= 1 and len(repeats) == size
        for end in range(0, len(plan), 7):
            expected = len(mine) * end / len(plan)
            assert abs((places[:end, 0] == number).sum() - expected) <= len(parts)


def test_at_weight_one_everything_occurs_once_in_each_sources_order():
    found = texts(mix([Named("a", 6, 1.0), Named("b", 3, 1.0)], CHAT, 0))
    assert found == ["a0", "b0", "a1", "a2", "b1", "a3", "a4", "b2", "a5"]


def test_weights_below_one_thin_out_and_above_one_repeat():
    assert texts(mix([Named("a", 6, 0.5)], CHAT, 0)) == ["a0", "a2", "a4"]
    assert texts(mix([Named("a", 2, 2.0)], CHAT, 0)) == ["a0", "a1", "a0", "a1"]


def test_a_mix_can_be_read_by_number_and_by_grain():
    mixed = mix([Named("a", 6, 1.0), Named("b", 3, 2.0)], CHAT, 0)
    assert texts(grain.MapDataset.source(mixed)) == texts(mixed)
    assert mixed[4] == list(mixed)[4]


def test_bad_input_in_a_mix_is_told_without_words_about_its_machinery(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n')
    mixed = mix([Named("a", 2, 1.0), Jsonl(str(tmp_path / "bad.jsonl"))], CHAT, 0)
    with pytest.raises(InputError, match="bad.jsonl:2: not JSON") as complaint:
        list(mixed)
    assert not hasattr(complaint.value, "__notes__")


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_mix_refuses_no_sources_and_weights_that_are_not_positive(weight):
    with pytest.raises(InputError, match="no sources"):
        mix([], CHAT, 0)
    with pytest.raises(InputError, match="weight"):
        mix([Named("a", 6, weight)], CHAT, 0)


def test_a_parquet_file_that_claims_more_rows_than_it_can_hold_is_refused_at_once(tmp_path, monkeypatch):
    """One text, written once and repeated: a hundred thousand rows in a few hundred bytes."""
    monkeypatch.setattr("reasoning.data.sources.ROWS_A_BYTE", 10)
    pq.write_table(pa.table({"text": ["a"] * 100_000}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet claims 100,000 rows, too many for it"):
        Parquet(f"{tmp_path}/a.parquet").documents(CHAT, 0)


@pytest.mark.parametrize("place", [0.3, 0.7])
def test_a_parquet_file_that_is_damaged_within_is_refused_when_its_rows_are_read(tmp_path, place):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text number {number}" for number in range(500)]}), file)
    whole = bytearray(file.read_bytes())
    start = int(place * len(whole) / 2)
    whole[start : start + 40] = b"\xff" * 40
    file.write_bytes(whole)
    with pytest.raises(InputError, match="a.parquet"):
        list(Parquet(str(file)).documents(CHAT, 0))
