"""What a model's folder says of its tokenizer beside ``tokenizer.json``, by the precedence of transformers.

Newer folders say in fewer files what older ones spread over several; here each becomes the newest form: symbols stand
in ``tokenizer.json``, names and templates in ``tokenizer_config.json``, ends in ``generation_config.json``.
The precedence: ``PreTrainedTokenizerBase._from_pretrained`` and ``GenerationConfig`` of transformers 5.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, read_text
from reasoning.data.tokenizers.tokenizer_json import (
    CONFIG_FILE,
    GENERATION_FILE,
    JSON_FILE,
    JsonTokenizer,
    check_description,
    read_record,
)

TEMPLATE_FILE, TEMPLATE_FOLDER, TEMPLATE_SUFFIX = "chat_template.jinja", "additional_chat_templates", ".jinja"
DEFAULT_TEMPLATE = "default"
ADDED_FILE, SYMBOLS_FILE = "added_tokens.json", "special_tokens_map.json"
_MODEL_FILE = "config.json"
_LARGEST_TEMPLATE = 1 << 22

_SYMBOLS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FURTHER = ("additional_special_tokens", "extra_special_tokens")
"""Settings that hold one symbol, and several: symbols are found in a text before it is cut."""

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

_Json = dict[str, Any]


def read_transformers_folder(folder: Path, model: bytes) -> JsonTokenizer:
    """The tokenizer whose ``tokenizer.json`` has the content ``model``, with all that lies beside it in ``folder``.

    Symbols that only ``added_tokens_decoder`` or ``added_tokens.json`` names are there at their ids. Raises InputError
    for damaged files, and for symbols that two files give different ids.
    """
    config, generation = settings_beside(folder)
    description = read_record(model, JSON_FILE)
    check_description(description)
    added = _with_symbols(description, folder, config)
    if added != (description.get("added_tokens") or []):
        model = json.dumps(description | {"added_tokens": added}).encode()  # half a surrogate can't be UTF-8
    return JsonTokenizer(model, json.dumps(config, ensure_ascii=False), json.dumps(generation, ensure_ascii=False))


def settings_beside(folder: Path) -> tuple[_Json, _Json]:
    """``tokenizer_config.json`` and ``generation_config.json`` with what older and newer folders say elsewhere.

    Templates of files of their own, symbols of ``special_tokens_map.json`` and ends of ``config.json`` are among them.
    Raises InputError for damaged files.
    """
    config, generation = _read(folder, CONFIG_FILE), _read(folder, GENERATION_FILE)
    templates = _template_files(folder) or templates_of(config)
    if templates:
        config["chat_template"] = template_setting(templates)
    config |= _mapped_symbols(folder, config)
    if generation.get("eos_token_id") in (None, []):
        ends = _model_ends(folder)
        generation |= {} if ends is None else {"eos_token_id": ends}
    return config, generation


def placed_symbols(folder: Path, config: _Json) -> dict[str, int]:
    """The symbols for which settings or ``added_tokens.json`` give an id. Raises InputError for other content."""
    return {entry["content"]: entry["id"] for entry in (*_described(config), *_listed(folder, config))}


def special_symbols(folder: Path, config: _Json) -> tuple[str, ...]:
    """The symbols that settings or ``added_tokens.json`` say are left out of a reply's plain text, each once."""
    entries = (*_described(config), *_listed(folder, config), *_named(config))
    return tuple(dict.fromkeys(entry["content"] for entry in entries if entry["special"]))


def templates_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The chat templates of a ``tokenizer_config.json`` by name; ``default`` is used where nobody names another.

    Raises InputError where they are neither a text, a table of texts nor a list of names and templates.
    """
    given = config.get("chat_template")
    if given is None:
        return {}
    try:
        named: dict[Any, Any] = (
            {DEFAULT_TEMPLATE: given}
            if isinstance(given, str)
            else dict(given)
            if isinstance(given, dict)
            else {entry["name"]: entry["template"] for entry in given}
        )
    except (TypeError, KeyError):
        named = {"": None}
    if not all(isinstance(template, str) for template in named.values()) or not all(map(_is_plain, named)):
        raise InputError(
            f"{CONFIG_FILE}: chat_template is {given!r:.60}; expected a text, or a list of records with name and "
            "template, the names of letters, digits, - and _"
        )
    return named


def template_setting(templates: Mapping[str, str]) -> str | list[dict[str, str]]:
    """Templates as ``tokenizer_config.json`` holds them: the one of all uses by itself, several by name."""
    if templates.keys() == {DEFAULT_TEMPLATE}:
        return templates[DEFAULT_TEMPLATE]
    return [{"name": name, "template": template} for name, template in templates.items()]


def _is_plain(name: Any) -> bool:
    return isinstance(name, str) and name.isascii() and name.replace("-", "_").isidentifier()


def _read(folder: Path, name: str) -> _Json:
    """A file's record, empty where there is no such file."""
    if not (folder / name).exists():
        return {}
    record = read_json(folder / name)
    if not isinstance(record, dict):
        raise InputError(f"{name} must hold a record, not {record!r:.40}; take the file anew")
    return record


def _template_files(folder: Path) -> dict[str, str]:
    """The templates that are files of their own: they replace all in the settings."""
    file, further = folder / TEMPLATE_FILE, folder / TEMPLATE_FOLDER
    paths = {DEFAULT_TEMPLATE: file} if file.exists() else {}
    for path in sorted(further.glob(f"*{TEMPLATE_SUFFIX}")) if further.is_dir() else ():
        name = path.name.removesuffix(TEMPLATE_SUFFIX)
        if not _is_plain(name):
            raise InputError(f"{path}: the name of a template must be of letters, digits, - and _; rename it")
        paths[name] = path
    return {name: read_text(path, _LARGEST_TEMPLATE) for name, path in paths.items()}


def _mapped_symbols(folder: Path, config: _Json) -> _Json:
    """What ``special_tokens_map.json`` changes: all that it names, or only what is unnamed in newer folders."""
    older = "added_tokens_decoder" not in config
    mapped = _read(folder, SYMBOLS_FILE)
    return {
        name: value
        for name, value in mapped.items()
        if name in (*_SYMBOLS, *_FURTHER) and value is not None and (older or config.get(name) is None)
    }


def _model_ends(folder: Path) -> Any:
    """The ends in ``config.json``, in whose ``text_config`` multimodal models have them; None where there are none."""
    values = _read(folder, _MODEL_FILE)
    inner = values.get("text_config")
    ends = values.get("eos_token_id")
    return inner.get("eos_token_id") if ends is None and isinstance(inner, dict) else ends


def _with_symbols(description: _Json, folder: Path, config: _Json) -> list[_Json]:
    """The ``added_tokens`` of a ``tokenizer.json`` with those that other files name, in the order of their ids."""
    written: list[_Json] = description.get("added_tokens") or []
    added = {entry.get("content"): entry for entry in written}
    vocab = _ids_of(description["model"]["vocab"])
    for entry in (*_described(config), *_listed(folder, config)):
        known = added.get(entry["content"], {"id": vocab.get(entry["content"], entry["id"])})
        if known["id"] != entry["id"]:
            raise InputError(
                f"the symbol {entry['content']!r:.60} has id {entry['id']} in {CONFIG_FILE} or {ADDED_FILE}, and "
                f"{known['id']} in {JSON_FILE}; take the model's files anew, all of one version"
            )
        if "added_tokens_decoder" in config or entry["content"] not in added:
            # What the library once knows as special stays so, whatever is added later.
            added[entry["content"]] = {**entry, "special": entry["special"] or known.get("special") is True}
    for symbol in _named(config):
        if symbol["content"] in vocab:
            added.setdefault(symbol["content"], {"id": vocab[symbol["content"]], **symbol})
    if added.keys() == {entry.get("content") for entry in written}:
        return [added[entry.get("content")] for entry in written]
    return sorted(added.values(), key=lambda entry: entry["id"])


def _ids_of(vocab: Any) -> Mapping[str, int]:
    """Pieces and their ids; a vocabulary of scores lists them in the order of ids."""
    if isinstance(vocab, dict):
        return vocab
    texts = (piece[0] if piece and isinstance(piece, list) else None for piece in vocab)
    return {text: token for token, text in enumerate(texts) if isinstance(text, str)}


def _described(config: _Json) -> Iterator[_Json]:
    """The symbols of ``added_tokens_decoder``."""
    described = config.get("added_tokens_decoder") or {}
    if not isinstance(described, dict):
        raise InputError(f"{CONFIG_FILE}: added_tokens_decoder is {described!r:.60}; expected a table; take it anew")
    for token, record in described.items():
        if not token.isdecimal() or len(token) > 9:
            raise InputError(f"{CONFIG_FILE}: added_tokens_decoder has {token!r:.40}, which is no id; take it anew")
        yield {"id": int(token), **_symbol(record, special=False)}


def _listed(folder: Path, config: _Json) -> Iterator[_Json]:
    """The symbols of ``added_tokens.json``, which is read where the settings describe none."""
    if "added_tokens_decoder" in config:
        return
    special = {symbol["content"] for symbol in _named(config)}
    for symbol, token in _read(folder, ADDED_FILE).items():
        _check_id(token, f"{folder / ADDED_FILE}: {symbol!r:.60}")
        yield {"id": token, **_symbol(symbol, special=symbol in special)}


def _named(config: _Json) -> Iterator[_Json]:
    """The symbols that settings name: of beginnings, ends, padding, and further ones."""
    for name in _SYMBOLS:
        if config.get(name) is not None:
            yield _symbol(config[name], special=True)
    for name in _FURTHER:
        further = config.get(name) or ()
        for value in further.values() if isinstance(further, dict) else further if isinstance(further, list) else ():
            yield _symbol(value, special=True)


def _symbol(value: Any, special: bool) -> _Json:
    """A symbol without its id, from its text or a record; what a record doesn't say is as in ``AddedToken``."""
    record = {"content": value} if isinstance(value, str) else value
    flags = {name: record[name] for name in _FLAGS if name in record} if isinstance(record, dict) else {}
    if not isinstance(record, dict) or not isinstance(record.get("content"), str) or not record["content"]:
        raise InputError(f"{CONFIG_FILE}: {value!r:.60} is no symbol; it must be a text, or a record with content")
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise InputError(f"{CONFIG_FILE}: the symbol {record['content']!r:.60} has {flags}; they must be true or false")
    is_special = flags.get("special", special)
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not is_special, "special": special}
    return {"content": record["content"], **plain, **flags}


def _check_id(token: Any, where: str) -> None:
    if type(token) is not int or token < 0:
        raise InputError(f"{where} is {token!r:.40}, which is no id; take the file anew")
