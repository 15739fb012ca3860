"""A tokenizer and its chat format as the files that transformers and vLLM read beside a model's weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import json_text
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.template import chat_template
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer
from reasoning.data.tokenizers.sentencepiece_json import json_of_sentencepiece
from reasoning.data.tokenizers.tokenizer import Tokenizer, end_ids
from reasoning.data.tokenizers.tokenizer_json import (
    CONFIG_FILE,
    GENERATION_FILE,
    JSON_FILE,
    JsonTokenizer,
    symbol_named,
)
from reasoning.data.tokenizers.transformers_folder import (
    DEFAULT_TEMPLATE,
    TEMPLATE_FILE,
    TEMPLATE_FOLDER,
    TEMPLATE_SUFFIX,
    template_setting,
    templates_of,
)

_NOT_OURS = ("auto_map", "tokenizer_file", "name_or_path", "chat_template")
"""Settings that lead to other people's code or folders, or that are written anew."""

_READ_AS = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"]}
"""How transformers is to read ``tokenizer.json``: as it is, and for decoders (4 gives types of tokens otherwise)."""


@dataclass(frozen=True)
class TransformersFiles:
    """The files by their names within a folder, and the ids of special tokens as ``config.json`` holds them."""

    files: Mapping[str, bytes | str]
    ids: Mapping[str, Any]

    @property
    def templated(self) -> bool:
        """Whether a chat template is among them."""
        return TEMPLATE_FILE in self.files


def transformers_files(tokenizer: Tokenizer, chat: ChatFormat | None, context: int) -> TransformersFiles:
    """What ``AutoTokenizer`` and ``generate`` need to read, ask and stop as this package does.

    The chat template lies in a file of its own, where transformers 5 looks, and in ``tokenizer_config.json``, where 4
    does. Without ``chat`` templates that came with the tokenizer stay. Ways of sampling that a model's makers
    recommend are left out: nothing was measured with them. Raises InputError as ``json_of_sentencepiece`` does, and for
    symbols of ``chat`` that the tokenizer lacks.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        tokenizer = _from_sentencepiece(tokenizer, chat)
    if not isinstance(tokenizer, JsonTokenizer):
        raise InputError(f"a tokenizer of type {type(tokenizer).__name__} can't be exported")
    if chat is not None:
        tokenizer.check_symbols(chat)
    config = json.loads(tokenizer.config)
    templates = templates_of(config) if chat is None else {DEFAULT_TEMPLATE: chat_template(chat)}
    special = _special(tokenizer, chat, config)
    kept = {name: value for name, value in config.items() if name not in _NOT_OURS}
    described = kept | special | _READ_AS | {"model_max_length": context}
    files: dict[str, bytes | str] = {JSON_FILE: tokenizer.model}
    if templates:
        described["chat_template"] = template_setting(templates)
    for name, template in templates.items():
        files[TEMPLATE_FILE if name == DEFAULT_TEMPLATE else f"{TEMPLATE_FOLDER}/{name}{TEMPLATE_SUFFIX}"] = template
    ids = _ids(tokenizer, chat, special)
    return TransformersFiles(files | {CONFIG_FILE: json_text(described), GENERATION_FILE: json_text(ids)}, ids)


def _from_sentencepiece(tokenizer: SentencePieceTokenizer, chat: ChatFormat | None) -> JsonTokenizer:
    """The same vocabulary for other programs, with the files beside it and the names of the symbols that it has."""
    processor = tokenizer.processor
    ids = {"bos": processor.bos_id(), "eos": processor.eos_id(), "pad": processor.pad_id(), "unk": processor.unk_id()}
    named = {f"{name}_token": processor.id_to_piece(token) for name, token in ids.items() if token >= 0}
    special = (*tokenizer.special, *(() if chat is None else chat.structure()))
    config = json.dumps(named | json.loads(tokenizer.config), ensure_ascii=False)
    return JsonTokenizer(json_of_sentencepiece(tokenizer, special), config, tokenizer.generation)


def _special(tokenizer: JsonTokenizer, chat: ChatFormat | None, config: Mapping[str, Any]) -> dict[str, str]:
    """The symbols that begin, end and fill up texts. Only what is a symbol already: others would be cut out of texts.

    The end is that of a reply, as in published chat models; a format that ends one with a mere line break leaves it.
    """
    symbol_of = {name: symbol_named(dict(config), name) for name in ("bos_token", "eos_token", "pad_token")}
    if chat is not None:
        symbols = chat.single_ids()
        symbol_of["eos_token"] = chat.end if chat.end in symbols else symbol_of["eos_token"]
        symbol_of["bos_token"] = symbol_of["bos_token"] or (chat.begin if chat.begin in symbols else None)
    symbol_of["pad_token"] = symbol_of["pad_token"] or symbol_of["eos_token"]
    return {name: symbol for name, symbol in symbol_of.items() if symbol}


def _ids(tokenizer: JsonTokenizer, chat: ChatFormat | None, special: Mapping[str, str]) -> dict[str, Any]:
    """All ids that end a reply, and those of the other symbols."""
    ends = list(tokenizer.ends if chat is None else end_ids(tokenizer, chat))
    named = {name: special.get(f"{name}_token") for name in ("bos", "pad")}
    ids: dict[str, Any] = {f"{name}_token_id": tokenizer.symbol_id(symbol) for name, symbol in named.items() if symbol}
    if ends:
        ids["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    return ids
