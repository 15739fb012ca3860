"""A tokenizer and its chat format as the files that transformers and vLLM read beside a model's weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import json_text
from reasoning.data.chat import ChatFormat
from reasoning.data.chat_template import chat_template
from reasoning.data.json_tokenizer import CONFIG_FILE, GENERATION_FILE, JSON_FILE, JsonTokenizer, symbol_named
from reasoning.data.tokenizer import Tokenizer, end_ids

TEMPLATE_FILE = "chat_template.jinja"

NOT_OURS = ("auto_map", "tokenizer_file", "name_or_path", "chat_template")
"""Settings that lead to other people's code or folders, or that are written anew."""


@dataclass(frozen=True)
class TransformersFiles:
    """The files by name, and the ids of special tokens as ``config.json`` holds them."""

    files: Mapping[str, bytes | str]
    ids: Mapping[str, Any]

    @property
    def templated(self) -> bool:
        """Whether a chat template is among them."""
        return TEMPLATE_FILE in self.files


def transformers_files(tokenizer: Tokenizer, chat: ChatFormat | None, context: int) -> TransformersFiles:
    """What ``AutoTokenizer`` and ``generate`` need to read, ask and stop as this package does.

    The chat template lies in a file of its own, where transformers 5 looks, and in ``tokenizer_config.json``, where 4
    does. Without ``chat`` a template that came with the tokenizer stays. Ways of sampling that a model's makers
    recommend are left out: nothing was measured with them. Raises InputError for tokenizers that transformers can't
    have, and symbols of ``chat`` that the tokenizer lacks.
    """
    if not isinstance(tokenizer, JsonTokenizer):
        raise InputError("the model's tokenizer is one of sentencepiece, which can't be exported yet")
    if chat is not None:
        tokenizer.check_symbols(chat)
    config = json.loads(tokenizer.config)
    template = config.get("chat_template") if chat is None else chat_template(chat)
    special = _special(tokenizer, chat, config)
    kept = {name: value for name, value in config.items() if name not in NOT_OURS}
    described = kept | special | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context}
    files: dict[str, bytes | str] = {JSON_FILE: tokenizer.model}
    if isinstance(template, str):
        described["chat_template"] = template
        files[TEMPLATE_FILE] = template
    ids = _ids(tokenizer, chat, special)
    return TransformersFiles(files | {CONFIG_FILE: json_text(described), GENERATION_FILE: json_text(ids)}, ids)


def _special(tokenizer: JsonTokenizer, chat: ChatFormat | None, config: Mapping[str, Any]) -> dict[str, str]:
    """The symbols that begin, end and fill up texts. Only what is a symbol already: others would be cut out of texts.

    The end is that of a reply, as in published chat models; a format that ends one with a mere line break leaves it.
    """
    found = {name: symbol_named(dict(config), name) for name in ("bos_token", "eos_token", "pad_token")}
    if chat is not None:
        symbols = chat.single_ids()
        found["eos_token"] = chat.end if chat.end in symbols else found["eos_token"]
        found["bos_token"] = found["bos_token"] or (chat.begin if chat.begin in symbols else None)
    found["pad_token"] = found["pad_token"] or found["eos_token"]
    return {name: symbol for name, symbol in found.items() if symbol}


def _ids(tokenizer: JsonTokenizer, chat: ChatFormat | None, special: Mapping[str, str]) -> dict[str, Any]:
    """All ids that end a reply, and those of the other symbols."""
    ends = list(tokenizer.ends if chat is None else end_ids(tokenizer, chat))
    named = {name: special.get(f"{name}_token") for name in ("bos", "pad")}
    ids: dict[str, Any] = {f"{name}_token_id": tokenizer.symbol_id(symbol) for name, symbol in named.items() if symbol}
    if ends:
        ids["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    return ids
