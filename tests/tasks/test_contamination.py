"""Planted copies of exam questions are found in whatever typography; texts about the same things are not taken."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.data.cleaning import Reading, Removal
from reasoning.data.documents import Document
from reasoning.tasks.chains import Chains
from reasoning.tasks.contamination import Decontamination, ExamQuestions, Shunning
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.tasks.splits import Split

CHAT = ChatFormat()
ROOT = Path(__file__).resolve().parents[2]

LONG = (
    "Mrs. O'Neil's bakery sold 1,250 loaves in March and 980.5 kg of cake in April; how many loaves, at $3.50 each, "
    "did she have to sell in May to earn 20,000 dollars in the whole spring?",
    "A train leaves Lyon at 9:15 and travels at 120 km/h; another leaves Paris, 465 km away, at 10:00 and travels at "
    "95 km/h. At what time do the two trains meet?",
    "If f(x) = 3x + 7 and g(x) = x^2 - 4 for all real numbers x, what is the sum of all values of x for which f(g(x)) "
    "is equal to g(f(x))?",
)
MIDDLE = ("Who was the first president of the republic?", "What is 12 + 30 - 5?")
SHORT = ("3+4-5?", "Capital of France?")


@dataclass(frozen=True)
class Listed:
    """Asks these questions."""

    questions: tuple[str, ...]
    answer: str = "1"

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        return tuple(Problem(question, self.answer, "listed") for question in self.questions[:count])


def problem_set(questions: Iterable[str], answer: str = "1") -> ProblemSet:
    questions = tuple(questions)
    return ProblemSet(tasks=(Listed(questions, answer),), split="test", count=len(questions))


def found_in(settings: Decontamination, *documents: Document) -> list[Removal | None]:
    mark, sieve = settings.marker(), settings.sieve(lambda number: np.zeros(0, np.uint64))
    return [sieve(number, mark(Reading(document))) for number, document in enumerate(documents)]


EXAM = Decontamination(exams=(ExamQuestions(problem_set((*LONG, *MIDDLE, *SHORT)), "exam"),))


def respelled(text: str) -> str:
    """The same in capitals, with other punctuation, and numbers with and without their commas and noughts."""
    text = (
        text.replace("1,250", "1250").replace("20,000", "20000.00").replace("980.5", "980.50").replace("465", "465.0")
    )
    text = text.replace("12 ", "12.0 ").replace("95", "\uff19\uff15").replace("'", "\u2019").replace(" - ", " \u2212 ")
    return text.upper().replace(";", " \u2014").replace(",", "").replace("?", " ...").replace(" ", "  \n")


def filler(seed: int, count: int = 200) -> str:
    chosen = random.Random(seed)
    words = [path for path in (ROOT / "README.md").read_text().split() if path.isalpha()]
    return " ".join(chosen.choices(words, k=count))


@pytest.mark.parametrize("question", (*LONG, *MIDDLE))
def test_planted_copies_in_longer_documents_are_found(question: str):
    planted = [f"{filler(1)} {text} {filler(2)}" for text in (question, respelled(question), question.lower())]
    found = found_in(EXAM, *map(CHAT.plain, planted), CHAT.exchange(respelled(question), "One."))
    assert all(found) and {each.like[:200] for each in found if each} == {question[:200]} or len(question) > 200
    assert {each.reason for each in found if each} == {"with questions of exam"}


def test_a_copy_with_a_word_changed_is_found_and_half_of_one_is_not():
    words = LONG[1].split()
    changed = [*words[:12], "slowly", *words[13:]]
    half = words[: len(words) // 2]
    [copy, part] = found_in(EXAM, CHAT.plain(" ".join(changed)), CHAT.plain(" ".join(half)))
    assert copy is not None and 0.7 <= copy.similarity < 1 and part is None


def test_a_short_question_counts_where_it_stands_alone():
    asked = ["Q: 3 + 4 - 5? A: 2", "List:\n3+4-5\n8+1", "capital of FRANCE", "Easy. Capital of France? Paris"]
    others = ["3+4-5+1?", "13+4-5?", "3+4+5?", "Lyon is no capital of France today", "The capital of France is Paris"]
    assert all(found_in(EXAM, *map(CHAT.plain, asked), CHAT.exchange("3+4-5?", "2")))
    assert not any(found_in(EXAM, *map(CHAT.plain, others)))


def test_a_term_that_goes_on_is_another_question():
    others = ["What is 12 + 30 - 5 + 2?", "What is 12 + 30 - 6?", "What is 12 - 30 + 5?", "What is 12, 30, 5?"]
    assert not any(found_in(EXAM, *map(CHAT.plain, others)))
    assert all(found_in(EXAM, CHAT.plain("Tell me: what is 12+30-5 = 37")))


def test_instructions_that_questions_share_tell_of_none():
    asked = (
        "Read the review below with care and say in one word whether its author liked the book or did not like it: {}"
    )
    reviews = [filler(seed, 12) for seed in range(8)]
    exam = Decontamination(exams=(ExamQuestions(problem_set(asked.format(review) for review in reviews[:4])),))
    found = found_in(exam, *(CHAT.exchange(asked.format(review), "Liked") for review in reviews))
    assert [each is not None for each in found] == [True] * 4 + [False] * 4


def test_a_question_made_of_what_others_share_is_found_whole():
    chosen = random.Random(0)
    terms = ["+".join(str(chosen.randrange(2)) for _ in range(12)) for _ in range(60)]
    exam = Decontamination(exams=(ExamQuestions(problem_set(terms)),))
    found = found_in(exam, *(CHAT.plain(f"So {term} = ?") for term in terms))
    assert all(found)
    assert not any(found_in(exam, *(CHAT.plain(f"So {term}+1 = ?") for term in terms if f"{term}+1" not in terms)))


def test_how_much_of_a_question_a_document_holds_is_what_sets_of_words_say():
    chosen = random.Random(3)
    shared = [chosen.choices("abcd", k=12) for _ in range(6)]

    def text(length: int) -> list[str]:
        parts = [
            chosen.choice(shared)[: chosen.randrange(6, 13)] if chosen.random() < 0.5 else chosen.choices("efgh", k=4)
        ]
        while sum(map(len, parts)) < length:
            parts.append(chosen.choice(shared) if chosen.random() < 0.4 else chosen.choices("efgh", k=3))
        return [word for part in parts for word in part]

    questions = list({" ".join(text(chosen.randrange(20, 40))): None for _ in range(40)})
    exam = Decontamination(words=4, share=0.6, exams=(ExamQuestions(problem_set(questions)),))
    split = [question.split() for question in questions]
    stretches = [[tuple(words[at : at + 4]) for at in range(len(words) - 3)] for words in split]
    telling = {each for part in stretches for each in part if sum(each in other for other in stretches) < 3}

    def words_of(number: int, wanted: set[tuple[str, ...]]) -> set[int]:
        places = (at for at, each in enumerate(stretches[number]) if each in wanted)
        return {word for at in places for word in range(at, at + 4)}

    def most(words: list[str]) -> float:
        held = {tuple(words[at : at + 4]) for at in range(len(words) - 3)} & telling
        wholes = [len(words_of(number, telling)) for number in range(len(questions))]
        return max(len(words_of(number, held)) / whole for number, whole in enumerate(wholes) if whole)

    documents = [text(100) + chosen.choice(split)[: chosen.randrange(40)] for _ in range(60)]
    found = found_in(exam, *(CHAT.plain(" ".join(words)) for words in documents))
    expected = [most(words) for words in documents]
    assert [each.similarity if each else 0 for each in found] == [share if share >= 0.6 else 0 for share in expected]
    assert 10 < sum(each is not None for each in found) < 55


def test_long_answers_are_looked_for_and_short_ones_are_not():
    exam = Decontamination(exams=(ExamQuestions(problem_set(["Why?"], answer=LONG[0])),))
    assert all(found_in(exam, CHAT.plain(filler(1) + " " + LONG[0])))
    exam = Decontamination(exams=(ExamQuestions(problem_set(["Why?"], answer="Paris")),))
    assert not any(found_in(exam, CHAT.plain("Paris"), CHAT.plain("paris\nParis")))


def test_the_projects_own_documents_hold_no_question_of_its_exams():
    chains = ProblemSet(tasks=(Chains(minimum_operands=2, maximum_operands=10),), split="test", count=300)
    exam = Decontamination(exams=(*EXAM.exams, ExamQuestions(chains, "chains")))
    paragraphs = [
        part for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) for part in path.read_text().split("\n\n")
    ]
    assert len(paragraphs) > 200
    assert sum(each is not None for each in found_in(exam, *map(CHAT.plain, paragraphs))) <= len(paragraphs) // 500
    problems = chains.problems()
    assert all(found_in(exam, *(CHAT.exchange(problem.question, problem.answer) for problem in problems)))


def test_exams_are_taken_over_unless_some_are_named_and_equal_ones_are_one():
    one, other = problem_set(LONG), problem_set(SHORT)
    assert isinstance(EXAM, Shunning) and EXAM.shunning({"later": one}) is EXAM
    told = Decontamination().shunning({"first": one, "second": other, "third": one})
    assert told.exams == (ExamQuestions(one, "first, third"), ExamQuestions(other, "second"))
    assert told.shuns(one) and told.shuns(other) and not told.shuns(problem_set(MIDDLE))
    assert Decontamination().shunning({}) == Decontamination()


def test_texts_without_words_and_exams_of_them_are_let_be():
    exam = Decontamination(exams=(ExamQuestions(problem_set(["?!", "..."])),))
    assert found_in(exam, CHAT.plain("?!"), CHAT.plain("")) == [None, None]
