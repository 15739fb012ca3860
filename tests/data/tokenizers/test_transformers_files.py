import json
from dataclasses import replace

import pytest
import tokenizers

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import LLAMA_3, SMOLLM_2
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer
from reasoning.data.tokenizers.tokenizer_json import JsonTokenizer
from reasoning.data.tokenizers.transformers_files import transformers_files

sandbox = pytest.importorskip("jinja2.sandbox")

SYMBOLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ALPHABET = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
MODEL = from_bpe([*SYMBOLS, *ALPHABET], [], SYMBOLS, [], "smollm")
MAKERS = {
    "bos_token": {"content": "<|endoftext|>", "special": True},
    "eos_token": "<|endoftext|>",
    "chat_template": "{{ 1 / 0 }}",
    "auto_map": {"AutoTokenizer": ["theirs.py", None]},
    "tokenizer_class": "GPT2Tokenizer",
    "add_prefix_space": False,
}
TOKENIZER = JsonTokenizer(MODEL, json.dumps(MAKERS), json.dumps({"eos_token_id": 0, "temperature": 0.6}))
FEW_SHOT = ChatFormat(
    begin="", start="1 + 1 = 2\n", user="", close=" =", system="", assistant="", end="\n", marks=("<|endoftext|>",)
)


def exported(tokenizer=TOKENIZER, chat=SMOLLM_2):
    found = transformers_files(tokenizer, chat, 128)
    return found, json.loads(found.files["tokenizer_config.json"]), json.loads(found.files["generation_config.json"])


def test_a_prompt_by_the_exported_template_is_the_prompt_that_was_trained():
    found, config, _ = exported()
    assert found.files["chat_template.jinja"] == config["chat_template"]
    template = sandbox.ImmutableSandboxedEnvironment().from_string(config["chat_template"])
    asked = [{"role": "user", "content": "1+1?"}]
    assert template.render(messages=asked, add_generation_prompt=True) == SMOLLM_2.prompt("1+1?")


def test_a_reply_ends_where_it_did_in_training_and_at_the_ends_that_the_makers_name():
    found, config, generation = exported()
    assert config["eos_token"] == "<|im_end|>" and generation["eos_token_id"] == [2, 0]
    assert found.ids == generation  # what config.json holds too
    assert (config["bos_token"], config["pad_token"]) == ("<|endoftext|>", "<|im_end|>")
    assert (generation["bos_token_id"], generation["pad_token_id"]) == (0, 2)


def test_an_end_that_is_ordinary_text_ends_replies_and_is_no_symbol():
    """As a symbol it would be cut out of texts before they are encoded, and leave them when decoded."""
    _, config, generation = exported(chat=FEW_SHOT)
    assert config["eos_token"] == "<|endoftext|>"
    assert generation["eos_token_id"] == [TOKENIZER.symbol_id("\n"), 0]


def test_the_vocabulary_is_read_as_it_is_and_nothing_leads_to_other_peoples_code_or_sampling():
    found, config, generation = exported()
    assert found.files["tokenizer.json"] == MODEL
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and "auto_map" not in config
    assert config["model_input_names"] == ["input_ids", "attention_mask"]  # generate refuses types of tokens
    assert config["add_prefix_space"] is False and config["model_max_length"] == 128
    assert "temperature" not in generation


def test_without_a_chat_format_the_makers_template_and_ends_stay():
    found, config, generation = exported(chat=None)
    assert found.files["chat_template.jinja"] == config["chat_template"] == "{{ 1 / 0 }}"
    assert generation == {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    bare, config, generation = exported(JsonTokenizer(MODEL), chat=None)
    assert not bare.templated and "chat_template" not in config and generation == {}


def test_what_was_exported_is_read_back_with_the_same_ids_and_ends(tmp_path):
    found, _, _ = exported()
    for name, content in found.files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    again = load_tokenizer(tmp_path)
    assert again.encode("<|im_start|>12 é") == TOKENIZER.encode("<|im_start|>12 é")
    assert set(again.ends) == {0, 2} and again.pad_id == 2


@pytest.mark.parametrize(
    ("chat", "match"),
    [(LLAMA_3, "no single id for '<|begin_of_text|>'"), (replace(FEW_SHOT, end="</s>"), "no single id for '</s>'")],
)
def test_symbols_that_the_tokenizer_lacks_are_refused(chat, match):
    with pytest.raises(InputError, match=match.replace("|", r"\|")):
        transformers_files(TOKENIZER, chat, 128)


def test_a_sentencepiece_vocabulary_is_exported_with_its_padding_and_the_formats_end():
    chat = ChatFormat()
    model = train_tokenizer(
        ["3 + 4 = 7"], vocabulary_size=60, symbols=chat.symbols(), extra_symbols=(), kind="char", byte_fallback=False
    )
    ours = SentencePieceTokenizer(model)
    found, config, generation = exported(ours, chat)
    assert (config["pad_token"], config["eos_token"], config["bos_token"]) == ("<pad>", "<|end|>", "<|begin|>")
    assert generation["eos_token_id"] == ours.symbol_id("<|end|>") and generation["pad_token_id"] == 0
    text = chat.exchange("3 + 4", "<think>3</think><answer>7</answer>").text()
    theirs = JsonTokenizer(found.files["tokenizer.json"])
    assert theirs.encode(text) == ours.encode(text)
    assert theirs.decode(ours.encode(text), keep_special=False) == "3 + 4<think>3</think><answer>7</answer>"
