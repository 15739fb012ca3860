"""Damaged files of models, tokenizers and data sets: read, or refused in one clear line, within seconds.

``test_hostile_inputs.py`` says how more of them are tried.
"""

import json
import math
from pathlib import Path
from random import Random

import gguf_file
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
import tokenizers
from hostile import check_each
from mutations import damaged_bytes, damaged_json
from safetensors_folder import write_file, write_index

from reasoning.data.chat.format import ChatFormat
from reasoning.data.records import write_records
from reasoning.data.sources import DocumentSource, Parquet, Tfds
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.transformers_files import transformers_files
from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, Rope, Stack, to_json
from reasoning.models.formats.families import read_config
from reasoning.models.formats.safetensors import read_folder
from reasoning.models.model import build_model, parameter_count
from reasoning.stages.checkpoint import CONFIG, read_model
from reasoning.stages.pretrained import find

CONFIGS = Path(__file__).parents[1] / "models/parity"


@pytest.mark.parametrize("family", ["llama3", "gemma2", "deepseek_v3"])
def test_model_configs(tmp_path: Path, family: str):
    whole = (CONFIGS / family / "config.json").read_bytes()

    def attempt(random: Random) -> None:
        (tmp_path / "config.json").write_bytes(damaged_json(random, whole))
        parameter_count(build_model(read_config(tmp_path)))

    check_each(f"config of {family}", attempt)


def test_tokenizers(tmp_path: Path):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=270, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["a b c d"] * 5, trainer)
    whole = {
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": b'{"eos_token": "<|end|>", "chat_template": [{"name": "default", "template": "T"}]}',
        "special_tokens_map.json": b'{"pad_token": {"content": "<|end|>", "lstrip": false}}',
        "added_tokens.json": json.dumps({"<think>": tokenizer.get_vocab_size()}).encode(),
        "generation_config.json": b'{"eos_token_id": [0, 5]}',
        "config.json": b'{"eos_token_id": 0, "text_config": {"eos_token_id": [0]}}',
    }

    def attempt(random: Random) -> None:
        damaged = random.choice(list(whole))
        for name, content in whole.items():
            (tmp_path / name).write_bytes(damaged_json(random, content) if name == damaged else content)
        found = load_tokenizer(tmp_path)
        found.decode(found.encode("a b c"))
        transformers_files(found, None, 128)

    check_each("tokenizer", attempt)


def test_safetensors(tmp_path: Path):
    file, index = tmp_path / "all.safetensors", tmp_path / "model.safetensors.index.json"
    write_file(file, {"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float32)})
    write_index(tmp_path, {"a": file.name, "b": file.name})
    whole = {file: file.read_bytes(), index: index.read_bytes()}

    def attempt(random: Random) -> None:
        file.write_bytes(damaged_bytes(random, whole[file]) if random.random() < 0.7 else whole[file])
        index.write_bytes(damaged_json(random, whole[index]) if random.random() < 0.5 else whole[index])
        read_folder(tmp_path)

    check_each("safetensors", attempt)


def test_models_of_ours(tmp_path: Path):
    kinds = (BlockKind(window=8, rope=Rope(100.0)), BlockKind(moe=MoE(4, 2, 8)))
    config = ModelConfig(48, 16, 4, 32, (Stack(2, kinds),), 32, latent=Latent(8, 12, 6, 4, 6))
    whole = json.dumps(to_json(config)).encode()

    def attempt(random: Random) -> None:
        (tmp_path / CONFIG).write_bytes(damaged_json(random, whole))
        parameter_count(build_model(read_model(tmp_path)))

    check_each("model.json", attempt)


GGUF_FIELDS = (
    *(f"llama.{name}" for name in ("block_count", "context_length", "embedding_length", "feed_forward_length")),
    *(f"llama.attention.{name}" for name in ("head_count", "head_count_kv", "layer_norm_rms_epsilon", "key_length")),
    *(f"llama.rope.{name}" for name in ("freq_base", "dimension_count", "scale_linear", "scaling.type")),
    *(f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges", "eos_token_id", "pre")),
    *("general.architecture", "tokenizer.chat_template"),
)
GGUF_VALUES = (0, 1, 2**32 - 1, 0.0, math.nan, -1.0, "x", b"\xff", [1], ["a"])


def test_gguf(tmp_path: Path):
    file = tmp_path / "a.gguf"
    gguf_file.write(file)
    whole = file.read_bytes()

    def attempt(random: Random) -> None:
        if random.random() < 0.5:
            file.write_bytes(damaged_bytes(random, whole[:5000]) + whole[5000:])
        else:
            gguf_file.write(file, fields={random.choice(GGUF_FIELDS): random.choice(GGUF_VALUES)})
        parameter_count(build_model(find(file).config))

    check_each("gguf", attempt)


ROWS = [{"prompt": f"{number} + 1", "completion": f"{number + 1}é"} for number in range(40)]


def read_documents(source: DocumentSource) -> None:
    """The first documents and the last one."""
    documents = source.documents(ChatFormat(), 0)
    for index in {0, len(documents) // 2, len(documents) - 1}:
        documents[index]


def test_parquet(tmp_path: Path):
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=16)
    whole = file.read_bytes()

    def attempt(random: Random) -> None:
        damaged = damaged_bytes(random, whole)
        # The library counts on the marks at both ends; the footer before the last one says all else.
        file.write_bytes(damaged if random.random() < 0.5 else damaged_footer(random, whole))
        read_documents(Parquet(str(file)))

    check_each("parquet", attempt)


def damaged_footer(random: Random, whole: bytes) -> bytes:
    """A Parquet file whose footer, of a right length, is damaged."""
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    footer = damaged_bytes(random, whole[start:-8])
    return whole[:start] + footer + len(footer).to_bytes(4, "little") + whole[-4:]


def test_tfds_folders(tmp_path: Path):
    columns = {"prompt": tfds.features.Text(), "completion": tfds.features.Text()}
    write_records(tmp_path / "set", ROWS, columns)
    whole = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    described = [path for path in whole if path.suffix == ".json"]

    def attempt(random: Random) -> None:
        damaged = random.choice([*described, *whole])
        change = damaged_json if damaged in described else damaged_bytes
        damaged.write_bytes(change(random, whole[damaged]))
        try:
            read_documents(Tfds(str(tmp_path / "set")))
        finally:
            damaged.write_bytes(whole[damaged])

    check_each("tfds", attempt)
