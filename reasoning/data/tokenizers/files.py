"""Opens the tokenizer of a folder, whichever library its file is for: a stage's artifact or a Hugging Face model."""

import json
from pathlib import Path

from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.data.tokenizers.sentencepiece import SENTENCEPIECE_FILE, SentencePieceTokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.data.tokenizers.tokenizer_json import CONFIG_FILE, GENERATION_FILE, JSON_FILE, JsonTokenizer

LARGEST_FILE = 1 << 28
"""Bytes; the largest tokenizer files of known models have an eighth of it."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder: its ``tokenizer.json``, with padding and ends from the files beside, or else its
    ``tokenizer.model``.

    Raises InputError, beginning with the file, where there is none, or it is damaged or unfit.
    """
    for name, load in ((JSON_FILE, _load_json), (SENTENCEPIECE_FILE, _load_sentencepiece)):
        file = folder / name
        if not file.exists():
            continue
        if file.stat().st_size > LARGEST_FILE:
            raise InputError(f"{file} has {file.stat().st_size} bytes, too many for a tokenizer; take the file anew")
        try:
            return load(file)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
    raise InputError(f"there is no tokenizer at {folder}: neither {JSON_FILE} nor {SENTENCEPIECE_FILE}")


def _load_sentencepiece(file: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(file.read_bytes())


def _load_json(file: Path) -> JsonTokenizer:
    beside = [file.parent / name for name in (CONFIG_FILE, GENERATION_FILE)]
    config, generation = (json.dumps(read_json(each), ensure_ascii=False) if each.exists() else "{}" for each in beside)
    return JsonTokenizer(file.read_bytes(), config, generation)
