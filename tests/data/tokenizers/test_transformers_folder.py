"""Folders as models are published in: what is read is what transformers 5.24 reads of the same files."""

import io
import json

import pytest
import sentencepiece
import tokenizers

from reasoning.core.errors import InputError
from reasoning.data.tokenizers.byte_level import from_bpe
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.sentencepiece import train_tokenizer
from reasoning.data.tokenizers.transformers_files import transformers_files
from reasoning.data.tokenizers.transformers_folder import templates_of

ALPHABET = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = json.loads(from_bpe(["<|end|>", "<|im_end|>", *ALPHABET], [], ["<|end|>"], [], "smollm"))
SIZE = 2 + len(ALPHABET)
END, TURN = 0, 1


def sentencepiece_model():
    """A ``tokenizer.model`` with the same two symbols first, which are no symbols that a text is looked through for."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox " * 20]),
        model_writer=model,
        model_type="bpe",
        vocab_size=40,
        hard_vocab_limit=False,
        user_defined_symbols=["<|end|>", "<|im_end|>"],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        minloglevel=2,
        **{"pad_id": -1, "eos_id": -1, "bos_id": -1, "unk_id": 2},
    )
    return model.getvalue()


SENTENCEPIECE = sentencepiece_model()
either_kind = pytest.mark.parametrize("kind", ["tokenizer.json", "tokenizer.model"])


def folder_of(folder, kind="tokenizer.json", **files):
    """A folder with a tokenizer of either kind and these other files; a text is written as it is."""
    if kind == "tokenizer.json":
        files = {"tokenizer": VOCABULARY, **files}
    else:
        (folder / kind).write_bytes(SENTENCEPIECE)
    for name, content in files.items():
        file = folder / (name if name.endswith(".jinja") else f"{name}.json")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def symbol(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, **flags}


@pytest.mark.parametrize(
    ("files", "ends"),
    [
        ({"generation_config": {"eos_token_id": [1, 0]}, "config": {"eos_token_id": 5}}, (1, 0)),
        ({"generation_config": {"temperature": 0.6}, "config": {"eos_token_id": [1, 0]}}, (1, 0)),
        ({"config": {"eos_token_id": 1}, "tokenizer_config": {"eos_token": "<|end|>"}}, (1,)),
        ({"generation_config": {"eos_token_id": []}, "config": {"eos_token_id": 1}}, (1,)),
        ({"config": {"text_config": {"eos_token_id": [1]}}}, (1,)),
        ({"config": {"eos_token_id": None}, "tokenizer_config": {"eos_token": "<|end|>"}}, (0,)),
        ({"special_tokens_map": {"eos_token": "<|end|>"}}, (0,)),
        ({"special_tokens_map": {"eos_token": symbol("<|im_end|>")}, "tokenizer_config": {}}, (1,)),
        ({}, ()),
    ],
)
@either_kind
def test_ends_are_of_generation_then_model_then_tokenizer_then_its_map(tmp_path, files, ends, kind):
    tokenizer = load_tokenizer(folder_of(tmp_path, kind, **files))
    assert tokenizer.ends == ends and tokenizer.pad_id == (ends[0] if ends else 0)
    ids = transformers_files(tokenizer, None, 128).ids
    assert ids.get("eos_token_id", ()) == (ends if len(ends) != 1 else ends[0]) or ids["eos_token_id"] == list(ends)


@either_kind
def test_the_map_of_symbols_goes_before_the_settings_in_older_folders_only(tmp_path, kind):
    files = {"special_tokens_map": {"eos_token": "<|im_end|>"}, "tokenizer_config": {"eos_token": "<|end|>"}}
    assert load_tokenizer(folder_of(tmp_path, kind, **files)).ends == (TURN,)
    files["tokenizer_config"] |= {"added_tokens_decoder": {"0": symbol("<|end|>", special=True)}}
    assert load_tokenizer(folder_of(tmp_path, kind, **files)).ends == (END,)


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens": {"<think>": SIZE, "</think>": SIZE + 1}},
        {
            "tokenizer_config": {
                "added_tokens_decoder": {str(SIZE + 1): symbol("</think>"), str(SIZE): symbol("<think>", special=False)}
            }
        },
    ],
)
def test_symbols_that_only_a_file_beside_names_have_their_ids_and_are_kept(tmp_path, files):
    tokenizer = load_tokenizer(folder_of(tmp_path, **files))
    assert tokenizer.encode("<think>a</think>") == [SIZE, 2 + ALPHABET.index("a"), SIZE + 1]
    assert tokenizer.decode([SIZE, SIZE + 1], keep_special=False) == "<think></think>"  # they are no special symbols
    written = transformers_files(tokenizer, None, 128).files["tokenizer.json"]
    assert [entry["id"] for entry in json.loads(written)["added_tokens"]] == [END, SIZE, SIZE + 1]
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved") == tokenizer


def test_a_named_end_of_the_vocabulary_is_found_in_a_text_before_it_is_cut(tmp_path):
    """As transformers adds what settings name; without it no reply could ever be encoded with its end."""
    tokenizer = load_tokenizer(folder_of(tmp_path, tokenizer_config={"eos_token": "<|im_end|>"}))
    assert tokenizer.encode("a<|im_end|>")[-1] == TURN and tokenizer.ends == (TURN,)
    assert tokenizer.decode([TURN], keep_special=False) == ""


def test_flags_in_the_settings_go_before_those_of_the_vocabulary(tmp_path):
    described = {"0": symbol("<|end|>", lstrip=True, special=False)}
    tokenizer = load_tokenizer(folder_of(tmp_path, tokenizer_config={"added_tokens_decoder": described}))
    assert tokenizer.encode("a  <|end|>") == tokenizer.encode("a<|end|>")
    assert tokenizer.decode([END], keep_special=False) == ""  # as in transformers: special once is special


def test_what_agrees_is_left_as_it_is_to_the_byte(tmp_path):
    config = {"eos_token": "<|end|>", "added_tokens_decoder": {"0": symbol("<|end|>", special=True)}}
    folder = folder_of(tmp_path, tokenizer_config=config, special_tokens_map={"eos_token": "<|end|>"})
    assert load_tokenizer(folder).model == (folder / "tokenizer.json").read_bytes()


NAMED = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]


@pytest.mark.parametrize(
    ("files", "templates"),
    [
        ({"tokenizer_config": {"chat_template": "C"}}, {"default": "C"}),
        ({"tokenizer_config": {"chat_template": NAMED}}, {"default": "D", "tool_use": "T"}),
        ({"tokenizer_config": {"chat_template": "C"}, "chat_template.jinja": "J\n"}, {"default": "J\n"}),
        ({"tokenizer_config": {"chat_template": NAMED}, "chat_template.jinja": "J"}, {"default": "J"}),
        (
            {"chat_template.jinja": "J", "additional_chat_templates/tool_use.jinja": "U"},
            {"default": "J", "tool_use": "U"},
        ),
        ({"additional_chat_templates/rag.jinja": "R"}, {"rag": "R"}),
        ({}, {}),
    ],
)
@either_kind
def test_templates_are_those_of_files_else_of_the_settings_and_are_exported_as_both(tmp_path, files, templates, kind):
    tokenizer = load_tokenizer(folder_of(tmp_path, kind, **files))
    assert templates_of(json.loads(tokenizer.config)) == templates
    written = transformers_files(tokenizer, None, 128).files
    assert templates_of(json.loads(written["tokenizer_config.json"])) == templates
    (tmp_path / "out").mkdir()
    as_files = {name: content for name, content in written.items() if name.endswith(".jinja")}
    again = load_tokenizer(folder_of(tmp_path / "out", **as_files))
    assert templates_of(json.loads(again.config)) == templates


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"added_tokens": {"<think>": 3}}, r"'<think>' .*can't have id 3|'<think>' has id"),
        ({"added_tokens": {"<|end|>": 7}}, r"'<\|end\|>' has id 7 in .* and 0 in tokenizer.json"),
        ({"added_tokens": {"<think>": 10**7}}, "10000000 is no id|can't have id 10000000"),
        ({"added_tokens": {"<think>": True}}, "added_tokens.json: '<think>' is True, which is no id"),
        ({"added_tokens": []}, "added_tokens.json must hold a record"),
        ({"special_tokens_map": {"pad_token": "</s>"}}, "no single id for '</s>'"),
        ({"special_tokens_map": "[1]"}, "special_tokens_map.json must hold a record"),
        ({"special_tokens_map": {"eos_token": 5}}, "5 is no symbol"),
        ({"config": "[]"}, "config.json must hold a record"),
        ({"config": {"eos_token_id": "x"}}, "config.json: eos_token_id is 'x'"),
        ({"config": {"eos_token_id": 10**6}}, "config.json: id 1000000 is outside the vocabulary"),
        ({"tokenizer_config": {"added_tokens_decoder": [1]}}, "added_tokens_decoder is .*expected a table"),
        ({"tokenizer_config": {"added_tokens_decoder": {"-1": symbol("a")}}}, "'-1', which is no id"),
        ({"tokenizer_config": {"added_tokens_decoder": {"9": {"content": 3}}}}, "is no symbol"),
        ({"tokenizer_config": {"added_tokens_decoder": {"9": symbol("a", lstrip=2)}}}, "must be true or false"),
        ({"tokenizer_config": {"chat_template": 5}}, "chat_template is 5; expected a text"),
        ({"tokenizer_config": {"chat_template": [{"name": "../a", "template": "T"}]}}, "names of letters, digits"),
        ({"additional_chat_templates/a b.jinja": "T"}, "name of a template must be of letters"),
    ],
)
@either_kind
def test_files_that_contradict_each_other_or_hold_something_else_are_refused_by_name(tmp_path, files, match, kind):
    lacking = "adds .* as id .*, which tokenizer.model lacks"
    with pytest.raises(InputError, match=match if kind == "tokenizer.json" else f"{match}|{lacking}"):
        load_tokenizer(folder_of(tmp_path, kind, **files))


def test_special_symbols_beside_a_sentencepiece_model_are_no_text_and_stay_so_when_saved_and_exported(tmp_path):
    plain = load_tokenizer(folder_of(tmp_path, "tokenizer.model"))
    assert plain.decode([END, TURN], keep_special=False) == "<|end|><|im_end|>"
    config = {"eos_token": "<|im_end|>", "additional_special_tokens": ["<|end|>", "<unheard>"], "chat_template": "C"}
    tokenizer = load_tokenizer(folder_of(tmp_path, "tokenizer.model", tokenizer_config=config))
    text = "the fox<|im_end|><|end|>"
    assert tokenizer.encode(text) == plain.encode(text) and tokenizer.encode(text)[-2:] == [TURN, END]
    assert tokenizer.decode(tokenizer.encode(text), keep_special=False) == "the fox"
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved") == tokenizer
    (tmp_path / "out").mkdir()
    for name, content in transformers_files(tokenizer, None, 128).files.items():
        (tmp_path / "out" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    exported = load_tokenizer(tmp_path / "out")
    assert exported.encode(text) == tokenizer.encode(text) and exported.ends == tokenizer.ends == (TURN,)
    assert exported.decode(exported.encode(text), keep_special=False) == "the fox"


def test_symbols_added_to_a_sentencepiece_model_are_never_lost(tmp_path):
    model = train_tokenizer(["abc"], vocabulary_size=10, symbols=(), extra_symbols=(), kind="char", byte_fallback=False)
    (tmp_path / "tokenizer.model").write_bytes(model)
    (tmp_path / "added_tokens.json").write_text('{"<think>": 32000}')
    with pytest.raises(InputError, match="adds '<think>' as id 32000, which tokenizer.model lacks"):
        load_tokenizer(tmp_path)
