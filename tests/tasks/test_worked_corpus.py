import pickle
import re
from collections import Counter
from dataclasses import replace

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Piece
from reasoning.rewards.accuracy import strict
from reasoning.tasks.chains import Chains
from reasoning.tasks.cups import Cups
from reasoning.tasks.splits import split_of
from reasoning.tasks.worked_corpus import Demonstrations, WorkedCorpus

CHAT = ChatFormat()
COUNT = 12_000

CHAIN = r"(?P<question>\d(?:[+-]\d)+\?)"
STEP, PAIR = r"\d[+-]\d=\d", r"\d(?:[+-]\d){1,2}=\d"
KINDS = {
    "direct": rf"{CHAIN}=(?P<answer>\d)",
    "direct_tagged": rf"{CHAIN}<answer>(?P<answer>\d)</answer>",
    "steps": rf"{CHAIN}(?P<steps>{STEP}(?:,{STEP})*)=(?P<answer>\d)",
    "paired_steps": rf"{CHAIN}(?P<steps>{PAIR}(?:,{PAIR})*)=(?P<answer>\d)",
    "tagged": rf"{CHAIN}<think>(?P<steps>{STEP}(?:,{STEP})*)</think><answer>(?P<answer>\d)</answer>",
    "paired_tagged": rf"{CHAIN}<think>(?P<steps>{PAIR}(?:,{PAIR})*)</think><answer>(?P<answer>\d)</answer>",
    "second_language": rf"{CHAIN}<think>(?P<letters>[A-J+=,-]+)</think><answer>(?P<answer>\d)</answer>",
    "drill": rf"(?P<facts>{STEP}(?:,{STEP})*)",
}


def body(text: str) -> tuple[bool, str]:
    """Whether a document is a conversation, and its text without the conversation's own symbols."""
    talk = re.fullmatch(r"<\|user\|>(.*)<\|assistant\|>(.*)<\|end\|>", text)
    if talk:
        return True, "".join(talk.groups())
    plain = re.fullmatch(r"<\|begin\|>(.*)<\|end\|>", text)
    assert plain is not None, text
    return False, plain[1]


def classify(text: str) -> tuple[str, re.Match[str]]:
    """The first kind whose pattern fits; a chain of two operands has the same steps one or two at a time."""
    for kind, pattern in KINDS.items():
        match = re.fullmatch(pattern, text)
        if match:
            return kind, match
    raise AssertionError(text)


def right(question: str) -> str:
    return str(eval(question.rstrip("?")) % 10)


def write(corpus: WorkedCorpus, count: int) -> list[str]:
    return [corpus(0, index, CHAT).text() for index in range(count)]


@pytest.fixture(scope="module")
def documents() -> list[tuple[bool, str, re.Match[str]]]:
    return [(talk, *classify(text)) for talk, text in map(body, write(WorkedCorpus(), COUNT))]


def near(observed: int, share: float, total: int) -> bool:
    """Within 4.5 standard deviations of a binomial count."""
    return abs(observed - share * total) < 4.5 * (share * (1 - share) * total) ** 0.5


def test_kinds_come_in_their_shares(documents):
    counts = Counter(kind for _, kind, _ in documents)
    # A fifth of the chains has two operands, whose paired steps can't be told from single ones.
    expected = {"direct": 0.46, "direct_tagged": 0.09, "second_language": 0.05, "drill": 0.10}
    expected |= {"steps": 0.14 + 0.01, "paired_steps": 0.04, "tagged": 0.08 + 0.006, "paired_tagged": 0.024}
    assert set(counts) == set(expected)
    assert all(near(counts[kind], share, COUNT) for kind, share in expected.items()), counts


def test_a_fifth_of_every_kind_is_a_conversation(documents):
    for kind in KINDS:
        talks = [talk for talk, this, _ in documents if this == kind]
        assert near(sum(talks), 0.2, len(talks)), kind


def test_three_of_ten_direct_answers_are_drawn_by_lot(documents):
    hits = [match["answer"] == right(match["question"]) for _, kind, match in documents if kind == "direct"]
    assert near(sum(hits), 0.7 + 0.3 * 0.1, len(hits))


def test_tagged_direct_answers_are_right(documents):
    assert all(match["answer"] == right(match["question"]) for _, kind, match in documents if kind == "direct_tagged")


def equations(documents) -> list[tuple[str, str]]:
    return [
        tuple(equation.split("="))
        for _, kind, match in documents
        if "steps" in match.groupdict()
        for equation in match["steps"].split(",")
    ]


def test_one_step_in_fifty_has_a_result_drawn_by_lot(documents):
    hits = [str(eval(left) % 10) == result for left, result in equations(documents)]
    assert near(len(hits) - sum(hits), 0.02 * 0.9, len(hits))


def test_a_worked_answer_follows_from_its_last_step_and_each_step_from_the_one_before(documents):
    for _, _, match in documents:
        if "steps" not in match.groupdict():
            continue
        before = match["question"][0]
        for left, result in (equation.split("=") for equation in match["steps"].split(",")):
            assert left[0] == before
            before = result
        assert match["answer"] == before
        terms = "".join(equation.split("=")[0][1:] for equation in match["steps"].split(","))
        assert match["question"] == match["question"][0] + terms + "?"


def test_the_second_language_thinks_in_letters_and_answers_in_digits(documents):
    to_digits = str.maketrans("ABCDEFGHIJ", "0123456789")
    thoughts = [match for _, kind, match in documents if kind == "second_language"]
    agree = 0
    for match in thoughts:
        steps = match["letters"].translate(to_digits)
        assert re.fullmatch(rf"{STEP}(?:,{STEP})*", steps)
        assert steps[-1] == match["answer"]
        agree += match["answer"] == right(match["question"])
    assert agree / len(thoughts) > 0.9


def test_drills_hold_three_to_six_true_facts(documents):
    drills = [match["facts"].split(",") for _, kind, match in documents if kind == "drill"]
    assert {len(facts) for facts in drills} == {3, 4, 5, 6}
    for facts in drills:
        assert all(str(eval(left) % 10) == result for left, result in (fact.split("=") for fact in facts))


def test_only_train_questions_are_asked_of_every_length(documents):
    questions = [match["question"] for _, kind, match in documents if kind != "drill"]
    assert all(split_of(question) == "train" for question in questions)
    lengths = Counter(len(re.findall(r"\d", question)) for question in questions)
    assert set(lengths) == {2, 3, 4, 5, 6}
    assert all(near(count, 0.2, len(questions)) for count in lengths.values())


def test_a_document_depends_only_on_seed_and_number():
    corpus = WorkedCorpus()
    backwards = [corpus(5, index, CHAT) for index in reversed(range(50))]
    assert backwards[::-1] == [pickle.loads(pickle.dumps(corpus))(5, index, CHAT) for index in range(50)]
    assert len({document.text() for document in backwards}) > 40
    assert [corpus(6, index, CHAT) for index in range(50)] != backwards[::-1]


def test_every_token_of_a_pretraining_document_is_learnt():
    assert all(piece.learn for index in range(200) for piece in WorkedCorpus()(0, index, CHAT).pieces)


def test_shares_are_relative_and_zero_leaves_a_kind_out():
    only_drills = replace(WorkedCorpus(), **dict.fromkeys(list(KINDS)[:-1], 0.0), drill=3.0)
    assert {classify(body(text)[1])[0] for text in write(only_drills, 300)} <= {"drill"}
    without = replace(WorkedCorpus(), second_language=0.0)
    assert not any(re.search("[A-J]", text) for text in write(without, 1000))


def test_a_small_modulus_and_single_lengths_hold_for_every_document():
    corpus = WorkedCorpus(Chains(3, 3, modulus=5), second_language=0.0)
    assert not any(re.search("[5-9]", text) for text in write(corpus, 500))
    asked = [body(text)[1].partition("?")[0] for text in write(corpus, 500) if "?" in text]
    assert {len(re.findall(r"\d", question)) for question in asked} == {3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": Cups()}, "second_language=0.05, but cups are written in one language"),
        ({"minimum_facts": 7}, "minimum_facts=7 above maximum_facts=6"),
        (dict.fromkeys(KINDS, 0.0), "no kind of document"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        WorkedCorpus(**changes)


def test_other_symbols_are_taken_from_the_chat_format():
    other = ChatFormat(think_open="[", think_close="]", answer_open="(", answer_close=")", end="$")
    texts = [WorkedCorpus()(0, index, other).text() for index in range(300)]
    assert not any("<think>" in text or "<|end|>" in text for text in texts)
    assert all(text.endswith("$") for text in texts)


def test_demonstrations_are_right_train_exchanges_of_which_the_reply_is_learnt():
    demonstrations = [Demonstrations()(0, index, CHAT) for index in range(300)]
    assert len({document.text() for document in demonstrations}) > 290
    for document in demonstrations:
        prompt, reply = document.pieces
        question = prompt.text.removeprefix("<|user|>").removesuffix("<|assistant|>")
        assert prompt == Piece(CHAT.prompt(question), learn=False)
        assert reply.learn
        assert split_of(question) == "train"
        assert 4 <= len(re.findall(r"\d", question)) <= 6
        assert strict([prompt.text], [reply.text.removesuffix("<|end|>")], [right(question)]) == [1.0]


def test_a_corpus_of_games_works_them_out_swap_by_swap():
    corpus = WorkedCorpus(Cups(1, 3), second_language=0.0)
    texts = [body(text)[1] for text in write(corpus, 500)]
    worked = [re.fullmatch(r"([a-e])((?:~[a-e]{2})+)\?<think>(.*)</think><answer>([a-e])</answer>", t) for t in texts]
    paired = 0
    for match in filter(None, worked):
        equations = [equation.split("=") for equation in match[3].split(",")]
        assert "".join(left[1:] for left, _ in equations) == match[2]
        assert equations[-1][1] == match[4] and equations[0][0][0] == match[1]
        paired += any(len(left) > 4 for left, _ in equations)
    assert sum(match is not None for match in worked) > 20 and paired > 2
