import io
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, train_tokenizer

CHAT = ChatFormat()
SIGNED = tuple(sign + digit for sign in "+-" for digit in "0123456789")


def sums(count):
    drawn = random.Random(3)
    chains = ["".join(drawn.choices(SIGNED, k=drawn.randint(2, 6))) for _ in range(count)]
    return [CHAT.plain(f"{chain}=? {drawn.randint(0, 9)}\n").text() for chain in chains]


def train(texts=None, size=100, kind="char", extra=SIGNED, byte_fallback=False):
    return train_tokenizer(
        sums(200) if texts is None else texts,
        vocabulary_size=size,
        symbols=CHAT.symbols(),
        extra_symbols=extra,
        kind=kind,
        byte_fallback=byte_fallback,
    )


@pytest.fixture(scope="module")
def signed():
    return SentencePieceTokenizer(train(), CHAT.symbols())


@pytest.fixture(scope="module")
def bytewise():
    prose = ["The quick brown fox jumps over the lazy dog. " * 3, "Ein schöner Tag 2024"]
    return SentencePieceTokenizer(train(prose, size=400, kind="bpe", extra=(), byte_fallback=True), CHAT.symbols())


def test_every_symbol_and_every_signed_digit_is_one_id(signed):
    signed.check_symbols(CHAT)
    for symbol in (*CHAT.symbols(), *SIGNED):
        assert signed.encode(symbol) == [signed.symbol_id(symbol)]
    assert len(signed.encode("<|user|>+8-5+9=?<|assistant|><think>3</think>")) == 10


def test_padding_is_id_zero_and_the_special_symbols_follow_in_order(signed):
    assert signed.pad_id == 0
    assert [signed.symbol_id(s) for s in CHAT.symbols()] == list(range(2, 11))
    assert signed.decode([0, 0, *signed.encode("+1"), 0]) == "+1"


@pytest.mark.parametrize("kind", ["char", "bpe", "unigram"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_training_texts_survive_the_round_trip_in_every_kind(kind, byte_fallback):
    texts = [*sums(50), "  two  spaces\tand a tab\n\n", "übergroß 名前 🙂 12345"]
    tokenizer = SentencePieceTokenizer(train(texts, size=500, kind=kind, byte_fallback=byte_fallback))
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)] == texts


@given(st.text(max_size=40))
@settings(max_examples=300)
@example("a\u2581b\u2581")
@example("\u2581")
@example("\u2585\0\ufffd\ufeff\ufffe\r\n")
@example("<think>x</think><|end|>")
def test_with_byte_fallback_any_text_survives_the_round_trip(bytewise, text):
    assert bytewise.decode(bytewise.encode(text)) == text


def test_digits_are_never_merged(bytewise):
    assert len(bytewise.encode("2024")) == 4


@pytest.mark.parametrize("kind", ["char", "bpe", "unigram"])
def test_training_gives_the_same_bytes_in_another_process(kind):
    code = (
        "import sys, hashlib; from reasoning.data.tokenizers.sentencepiece import train_tokenizer;"
        f"model = train_tokenizer({sums(30)!r}, vocabulary_size=60, symbols=('<a>',), extra_symbols=(),"
        f" kind={kind!r}, byte_fallback=False); sys.stdout.buffer.write(model)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    here = train_tokenizer(
        sums(30), vocabulary_size=60, symbols=("<a>",), extra_symbols=(), kind=kind, byte_fallback=False
    )
    assert other == here and len(here) > 0


def test_a_batch_encodes_as_its_texts_one_by_one(bytewise):
    texts = ["quick fox", "", "a\u2581b", "<think>", "z" * 100]
    assert bytewise.encode_batch(texts) == [bytewise.encode(text) for text in texts]
    assert bytewise.encode_batch([]) == []


def test_sentencepiece_itself_reads_the_saved_file_alike(signed, tmp_path):
    signed.save(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert theirs.encode("<think>+8-5=") == signed.encode("<think>+8-5=")
    assert load_tokenizer(tmp_path).model == signed.model


def test_a_tokenizer_can_be_pickled_and_hashed(signed):
    signed.encode("+1")
    copy = pickle.loads(pickle.dumps(signed))
    assert copy == signed and hash(copy) == hash(signed) and copy.encode("+1") == signed.encode("+1")


def test_decoding_without_special_symbols_leaves_chat_symbols_out_and_keeps_the_rest(signed):
    text = "<|user|>+8=?<|assistant|><think>8</think><answer>8</answer><|end|>"
    ids = np.array(signed.encode("+8=? 1") + [signed.symbol_id("<|end|>")], dtype=np.int32)
    assert signed.decode(ids) == "+8=? 1<|end|>"
    assert signed.decode(ids, keep_special=False) == "+8=? 1"
    assert signed.decode_batch([signed.encode(text), []], keep_special=False) == ["+8=?88", ""]


def test_a_broken_byte_sequence_decodes_to_the_replacement_character(bytewise):
    assert bytewise.decode(bytewise.encode("é")[:1]) == "\ufffd"


def test_symbols_without_a_single_id_are_listed(signed):
    other = ChatFormat(think_open="<reason>", think_close="</reason>")
    with pytest.raises(InputError, match="'<reason>', '</reason>'"):
        signed.check_symbols(other)
    with pytest.raises(InputError, match="'<tool>'"):
        signed.symbol_id("<tool>")


def test_characters_outside_the_vocabulary_are_named(signed):
    with pytest.raises(InputError, match="'x', 'é' in '.1é x'"):
        signed.encode("+1é x")
    with pytest.raises(InputError, match="no id for 'é' in"):  # not the characters of the symbol
        signed.encode("<|user|>+1 é")
    with pytest.raises(InputError, match="'\u2581'"):
        signed.encode("+1\u2581")
    with pytest.raises(InputError, match="surrogate"):
        signed.encode("+1\ud800")


def test_an_id_outside_the_vocabulary_is_refused(signed):
    with pytest.raises(InputError, match=f"id {signed.vocabulary_size} is outside"):
        signed.decode([signed.vocabulary_size])
    with pytest.raises(InputError, match="id -1 is outside"):
        signed.decode([-1])


@pytest.mark.parametrize("kind", ["char", "bpe", "unigram"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_the_least_vocabulary_size_named_in_the_error_works_and_one_less_does_not(kind, byte_fallback):
    texts = sums(20)
    with pytest.raises(InputError, match=r"need at least \d+") as caught:
        train(texts, size=20, kind=kind, byte_fallback=byte_fallback)
    least = int(str(caught.value).rsplit(" ", 1)[1])
    with pytest.raises(InputError, match=f"at least {least}"):
        train(texts, size=least - 1, kind=kind, byte_fallback=byte_fallback)
    tokenizer = SentencePieceTokenizer(train(texts, size=least, kind=kind, byte_fallback=byte_fallback))
    assert tokenizer.vocabulary_size == least
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)] == texts


@pytest.mark.parametrize("kind", ["char", "bpe", "unigram"])
def test_a_small_corpus_gives_a_smaller_vocabulary_than_the_limit(kind):
    assert 30 < SentencePieceTokenizer(train(size=5000, kind=kind)).vocabulary_size < 1000


def test_a_text_longer_than_sentencepieces_own_limit_is_trained_on():
    tokenizer = SentencePieceTokenizer(train(["a" * 100_000 + "q"], extra=()))
    assert tokenizer.decode(tokenizer.encode("q")) == "q"


@pytest.mark.parametrize("texts", [[], [""], ["<think>"]])
def test_no_text_to_train_on_is_refused(texts):
    with pytest.raises(InputError, match="no texts"):
        train(texts)


def test_bad_input_among_the_texts_is_passed_on_as_it_is():
    def texts():
        yield "abc"
        raise InputError("corpus.jsonl:2: not JSON")

    with pytest.raises(InputError, match=r"^corpus.jsonl:2: not JSON$"):
        train(texts())


@pytest.mark.parametrize(
    ("extra", "match"),
    [(("<think>",), "twice: '<think>'"), (("a b",), "white space; change 'a b'"), (("",), "change ''")],
)
def test_symbols_that_cannot_be_single_ids_are_refused(extra, match):
    with pytest.raises(InputError, match=match):
        train(extra=extra)


def test_bytes_that_are_no_model_are_refused_with_the_file_named(tmp_path):
    with pytest.raises(InputError, match="no sentencepiece model"):
        SentencePieceTokenizer(b"junk")
    (tmp_path / "tokenizer.model").write_bytes(b"junk")
    with pytest.raises(InputError, match="tokenizer.model: the bytes are no sentencepiece model"):
        load_tokenizer(tmp_path)


def of_another_maker(**options):
    """A model with control symbols, as Gemma has them."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox " * 20]),
        model_writer=model,
        model_type="bpe",
        vocab_size=320,
        hard_vocab_limit=False,
        user_defined_symbols=["<start_of_turn>"],
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
        **{
            "bos_piece": "<bos>",
            "eos_piece": "<eos>",
            "pad_id": 0,
            "eos_id": 1,
            "bos_id": 2,
            "unk_id": 3,
            "add_dummy_prefix": False,
            **options,
        },
    )
    return model.getvalue()


def test_control_symbols_of_another_makers_model_are_written_in_texts_like_others():
    tokenizer = SentencePieceTokenizer(of_another_maker())
    assert (tokenizer.pad_id, tokenizer.ends) == (0, (1,))
    text = "<bos><start_of_turn>the fox<eos><eos> quick<bos>"
    ids = tokenizer.encode(text)
    assert (ids[0], ids[-1], ids.count(1)) == (2, 2, 2)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, keep_special=False) == "<start_of_turn>the fox quick"
    plain = tokenizer.processor
    assert ids == [2, *plain.encode("<start_of_turn>the fox"), 1, 1, *plain.encode(" quick"), 2]
    assert tokenizer.encode_batch([text, "", "the", "<eos>"]) == [ids, [], tokenizer.encode("the"), [1]]
    assert tokenizer.symbol_id("<bos>") == 2 and tokenizer.has_symbol("<eos>") and not tokenizer.has_symbol("<pad>")


@given(st.lists(st.sampled_from(["<bos>", "<eos>", "<start_of_turn>", "fox", " ", "é", "\u2581", "<b"]), max_size=12))
@settings(max_examples=200)
def test_texts_with_control_symbols_survive_the_round_trip(parts):
    tokenizer, text = SentencePieceTokenizer(OTHERS), "".join(parts)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_without_padding_the_end_of_a_text_fills_rows_up():
    assert SentencePieceTokenizer(of_another_maker(pad_id=-1, eos_id=0, bos_id=1, unk_id=2)).pad_id == 0


def test_a_model_that_puts_a_space_before_each_text_is_refused():
    with pytest.raises(InputError, match="puts a space before each text"):
        SentencePieceTokenizer(of_another_maker(add_dummy_prefix=True))


def test_an_id_outside_the_vocabulary_can_be_read_as_unknown(signed):
    ids = [*signed.encode("+1"), signed.vocabulary_size + 5, -1]
    assert signed.decode_batch([ids], lenient=True) == ["+1\ufffd\ufffd"]


OTHERS = of_another_maker()
