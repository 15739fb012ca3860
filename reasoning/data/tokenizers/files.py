"""Opens the tokenizer of a folder, whichever library its file is for: a stage's artifact or a Hugging Face model."""

import json
from dataclasses import replace
from pathlib import Path

from reasoning.core.errors import InputError
from reasoning.core.files import read_file
from reasoning.data.tokenizers.sentencepiece import SENTENCEPIECE_FILE, SentencePieceTokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.data.tokenizers.tokenizer_json import CONFIG_FILE, JSON_FILE, JsonTokenizer
from reasoning.data.tokenizers.transformers_folder import (
    ADDED_FILE,
    placed_symbols,
    read_transformers_folder,
    settings_beside,
    special_symbols,
)

LARGEST_FILE = 1 << 28
"""Bytes; the largest tokenizer files of known models have an eighth of it."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder: its ``tokenizer.json``, or else its ``tokenizer.model``, with all that transformers
    reads beside it.

    Raises InputError, beginning with the file, where there is none, or it is damaged or unfit.
    """
    for name, load in ((JSON_FILE, _load_json), (SENTENCEPIECE_FILE, _load_sentencepiece)):
        file = folder / name
        if not file.exists():
            continue
        if not file.is_file():
            raise InputError(f"{file} is a folder, a pipe or a device, and a file is needed; take the file anew")
        if file.stat().st_size > LARGEST_FILE:
            raise InputError(f"{file} has {file.stat().st_size} bytes, too many for a tokenizer; take the file anew")
        try:
            return load(file)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
    raise InputError(f"there is no tokenizer at {folder}: neither {JSON_FILE} nor {SENTENCEPIECE_FILE}")


def _load_sentencepiece(file: Path) -> SentencePieceTokenizer:
    folder, tokenizer = file.parent, SentencePieceTokenizer(read_file(file))
    config, generation = settings_beside(folder)
    for symbol, token in placed_symbols(folder, config).items():
        if token >= tokenizer.vocabulary_size or tokenizer.processor.id_to_piece(token) != symbol:
            raise InputError(
                f"{ADDED_FILE} or {CONFIG_FILE} adds {symbol!r:.60} as id {token}, which {SENTENCEPIECE_FILE} lacks; "
                f"save the tokenizer by transformers' save_pretrained, as {JSON_FILE}"
            )
    special = filter(tokenizer.has_symbol, special_symbols(folder, config))
    return replace(
        tokenizer,
        special=tuple(symbol for symbol in special if symbol not in tokenizer.controls),
        config=json.dumps(config, ensure_ascii=False),
        generation=json.dumps(generation, ensure_ascii=False),
    )


def _load_json(file: Path) -> JsonTokenizer:
    return read_transformers_folder(file.parent, read_file(file))
