import json

import pytest
import tokenizers

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.files import LARGEST_FILE, load_tokenizer
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer

ALPHABET = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = from_bpe(["<|end|>", *ALPHABET], [], ["<|end|>"], [], "smollm")


def hugging_face(folder, **files):
    """A model's folder with its tokenizer.json and the files beside it."""
    (folder / "tokenizer.json").write_bytes(VOCABULARY)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def pieces():
    return train_tokenizer(
        ["abc"], vocabulary_size=50, symbols=ChatFormat().symbols(), extra_symbols=(), kind="char", byte_fallback=False
    )


def test_a_models_folder_gives_its_vocabulary_padding_and_ends(tmp_path):
    folder = hugging_face(
        tmp_path,
        tokenizer_config={"eos_token": {"content": "<|end|>"}, "chat_template": "{{ 1 / 0 }}"},
        generation_config={"eos_token_id": [0, 5], "temperature": 0.6},
    )
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.vocabulary_size, tokenizer.pad_id, tokenizer.ends) == (257, 0, (0, 5))
    assert load_tokenizer(hugging_face(tmp_path, generation_config={})).ends == (0,)


@pytest.mark.parametrize("kind", ["json", "sentencepiece"])
def test_a_saved_tokenizer_is_read_back_equal(kind, tmp_path):
    saved = SentencePieceTokenizer(pieces())
    if kind == "json":
        config, generation = '{"pad_token": "<|end|>", "chat_template": "é"}', '{"eos_token_id": [3, 0], "top_p": 0.95}'
        saved = JsonTokenizer(VOCABULARY, config, generation)
    saved.save(tmp_path)
    read = load_tokenizer(tmp_path)
    assert read == saved and read.ends == saved.ends and read.pad_id == saved.pad_id
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] if kind == "json" else ["tokenizer.model"]
    )


def test_of_two_tokenizers_the_json_is_read(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(pieces())
    assert isinstance(load_tokenizer(tmp_path), SentencePieceTokenizer)
    assert isinstance(load_tokenizer(hugging_face(tmp_path)), JsonTokenizer)


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"tokenizer_config": "{"}, r"tokenizer.json: .*tokenizer_config.json:1: not JSON"),
        ({"tokenizer_config": '{"pad_token": "a", "pad_token": "b"}'}, "a key occurs twice"),
        ({"tokenizer_config": []}, "tokenizer_config.json must hold a record"),
        ({"tokenizer_config": {"eos_token": "</s>"}}, "no single id for '</s>'"),
        ({"generation_config": {"eos_token_id": [0, 257]}}, "id 257 is outside the vocabulary of 257"),
        ({"generation_config": {"eos_token_id": [[0]]}}, "it must be an id or a list of ids"),
    ],
)
def test_damaged_files_beside_it_are_named(files, match, tmp_path):
    with pytest.raises(InputError, match=match):
        load_tokenizer(hugging_face(tmp_path, **files))


def test_a_folder_without_a_tokenizer_and_a_file_too_large_for_one_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no tokenizer at .*: neither tokenizer.json nor tokenizer.model"):
        load_tokenizer(tmp_path)
    with open(tmp_path / "tokenizer.json", "wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(InputError, match=r"tokenizer.json has \d+ bytes, too many"):
        load_tokenizer(tmp_path)
