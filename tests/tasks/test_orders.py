import json
import re

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.extraction import FieldF1
from reasoning.tasks.orders import OrderCorpus, Orders
from reasoning.tasks.splits import split_of

CHAT = ChatFormat()


def record_of(text: str) -> dict:
    """What an order says, read by its words alone."""
    names, things = (
        ("ann", "ben", "eva", "ian", "kim", "leo", "mia", "tom"),
        ("cups", "hats", "keys", "pens", "pots", "rugs"),
    )
    words = re.findall("[a-z]+", text)
    [who] = [word for word in words if word in names]
    [what] = [word for word in words if word in things]
    [count] = re.findall("[0-9]+", text)
    return {"who": who, "count": int(count), "what": what, "paid": "paid" in words}


def test_an_answer_is_what_the_order_says_and_the_splits_share_none():
    train, test = Orders().problems("train", 400, 0), Orders().problems("test", 200, 0)
    for problem in (*train, *test):
        assert json.loads(problem.answer) == record_of(problem.source) and problem.question == f"{problem.source}?"
        assert list(json.loads(problem.answer)) == ["who", "count", "what", "paid"] == list(problem.columns["schema"])
    assert not {problem.source for problem in train} & {problem.source for problem in test}
    assert len({re.sub("[0-9]+", "", problem.source) for problem in train}) > 150  # of 192 in four forms


def test_the_corpus_has_orders_of_the_training_split_and_half_of_its_records_have_a_field_of_another():
    whole = 0
    for index in range(2000):
        asked, _, rest = OrderCorpus()(0, index, CHAT).text().removeprefix("<|user|>").partition("<|assistant|>")
        text, answer = asked.removesuffix("?"), rest.removeprefix("<answer>").removesuffix("</answer><|end|>")
        right = record_of(text)
        schema = Orders().problems("train", 1, 0)[0].columns["schema"]
        [shared] = FieldF1()(["p"], [answer], [json.dumps(right)], [schema])
        assert shared in (0.75, 1.0) and split_of(text) == "train"
        whole += shared == 1.0
    # Of the mistaken half, another's field is the same one by chance: 1/8, 1/99, 1/6 or 5/8 of the time.
    assert abs(whole / 2000 - (0.5 + 0.5 * (1 / 8 + 1 / 99 + 1 / 6 + 5 / 8) / 4)) < 0.045


def test_a_document_depends_only_on_seed_and_number():
    assert OrderCorpus()(3, 5, CHAT) == OrderCorpus()(3, 5, CHAT) != OrderCorpus()(4, 5, CHAT)


def test_texts_are_made_of_the_symbols():
    symbols = sorted(OrderCorpus().symbols, key=len, reverse=True)
    pattern = "|".join(map(re.escape, symbols))
    for problem in Orders().problems("train", 100, 0):
        assert re.sub(pattern, "", problem.question + problem.answer) == ""
