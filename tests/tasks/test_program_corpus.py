import re
from collections import Counter

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.program_corpus import ProgramCorpus
from reasoning.tasks.splits import split_of

CHAT = ChatFormat()
COUNT = 4000
QUESTION = r"(?P<question>f\(\d\)=\d+(?:,f\(\d\)=\d+){3}\?)"
STEP = r"-?\d+(?:[-+*/]\d+)=[-+]?\d+"
PROGRAM = r"(?P<program>f=lambda x:[-+*%()x0-9a-z <,]+)"
KINDS = {
    "direct": f"{QUESTION}{PROGRAM}",
    "direct_tagged": f"{QUESTION}<answer>{PROGRAM}</answer>",
    "steps": f"{QUESTION}(?P<steps>{STEP}(?:,{STEP}){{9}}),{PROGRAM}",
    "tagged": f"{QUESTION}<think>(?P<steps>{STEP}(?:,{STEP}){{9}})</think><answer>{PROGRAM}</answer>",
    "drill": f"(?P<steps>{STEP}(?:,{STEP})*)",
}


def write(corpus: ProgramCorpus, count: int) -> list[tuple[bool, str, dict[str, str]]]:
    """Documents as whether they are conversations, their kind, and their parts."""
    read = []
    for index in range(count):
        text = corpus(0, index, CHAT).text()
        talk = re.fullmatch(r"<\|user\|>(.*)<\|assistant\|>(.*)<\|end\|>", text)
        plain = re.fullmatch(r"<\|begin\|>(.*)<\|end\|>", text)
        body = "".join(talk.groups()) if talk else plain[1] if plain else ""
        found = [(kind, match) for kind, form in KINDS.items() if (match := re.fullmatch(form, body))]
        assert len(found) == 1, text
        read.append((talk is not None, found[0][0], found[0][1].groupdict()))
    return read


@pytest.fixture(scope="module")
def documents():
    return write(ProgramCorpus(), COUNT)


def values(program: str, inputs) -> list[int]:
    names: dict = {}
    exec(program, names)
    return [names["f"](x) for x in inputs]


def fits(parts: dict[str, str]) -> bool:
    shown = [(int(x), int(y)) for x, y in re.findall(r"f\((\d)\)=(\d+)", parts["question"])]
    return values(parts["program"], [x for x, _ in shown]) == [y for _, y in shown]


def near(observed: int, share: float, total: int) -> bool:
    """Within 4.5 standard deviations of a binomial count."""
    return abs(observed - share * total) < 4.5 * (share * (1 - share) * total) ** 0.5


def test_kinds_come_in_their_shares_and_a_fifth_are_conversations(documents):
    counts = Counter(kind for _, kind, _ in documents)
    shares = {"direct": 0.10, "direct_tagged": 0.40, "steps": 0.12, "tagged": 0.18, "drill": 0.20}
    assert all(near(counts[kind], share, COUNT) for kind, share in shares.items()), counts
    assert near(sum(talk for talk, _, _ in documents), 0.20, COUNT)


def test_three_tenths_of_the_direct_answers_are_of_another_function(documents):
    direct = [parts for _, kind, parts in documents if kind.startswith("direct")]
    assert near(sum(not fits(parts) for parts in direct), 0.30, len(direct))


def test_worked_answers_are_right_unless_a_step_is_wrong(documents):
    worked = [parts for _, kind, parts in documents if kind in ("steps", "tagged")]

    def true(step: str) -> bool:
        left, right = step.split("=")
        return eval(left) == int(right)

    sound = [all(map(true, parts["steps"].split(","))) for parts in worked]
    assert all(fits(parts) for parts, right in zip(worked, sound, strict=True) if right)
    # A hundredth of six results is drawn from the numbers 0 to 3, which a quarter of the time or more are right.
    assert near(sum(sound), 0.955, len(sound))


def test_no_document_asks_for_a_test_function():
    exact = ProgramCorpus(random_answer=0.0, random_step=0.0, drill=0.0)
    for _, _, parts in write(exact, 1000):
        assert fits(parts)
        assert split_of("f " + " ".join(map(str, values(parts["program"], range(-10, 20))))) == "train"


def test_a_document_depends_on_its_number_and_seed_alone():
    first, again, other = (ProgramCorpus()(seed, 7, CHAT).text() for seed in (0, 0, 1))
    assert first == again != other


def test_a_corpus_without_any_kind_is_refused():
    with pytest.raises(InputError, match="no kind of document"):
        ProgramCorpus(direct=0, direct_tagged=0, steps=0, tagged=0, drill=0)
