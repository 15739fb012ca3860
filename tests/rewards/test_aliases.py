import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.aliases import alias, mentions
from reasoning.tasks.problems import Problem

CHAT = ChatFormat()


def give(reward, completion: str, answer: str, aliases=None, **columns) -> float:
    given = {"aliases": [aliases]} if aliases is not None else {}
    [value] = reward(
        prompts=["?"], completions=[completion], answer=[answer], kind=["k"], chat=CHAT, **given, **columns
    )
    return value


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Lima", 1),
        ("lima.", 1),
        ("<answer>The City of Kings</answer>", 1),
        ("<think>Cusco?</think><answer>Ciudad de los Reyes</answer>", 1),
        ("Well.\nLima", 1),
        ("It is Lima", 0),
        ("Limaa", 0),
        ("Lima, Cusco", 0),
        ("", 0),
    ],
)
def test_any_alias_is_right_and_nothing_beside_it(reply, right):
    assert give(alias, reply, "Lima", ["City of Kings", "Ciudad de los Reyes"]) == right


def test_without_aliases_the_answer_alone_is_right():
    assert give(alias, "lima", "Lima") == 1 and give(alias, "Ciudad de los Reyes", "Lima") == 0
    assert give(alias, "lima", "Lima", truncated=[True]) == 0


def test_numbers_among_names_are_compared_by_value():
    assert give(alias, "It has 1,000.0", "1000", ["a thousand"]) == 1
    assert give(alias, "Thousand", "1000", ["a thousand"]) == 1
    assert give(alias, "1001", "1000", ["a thousand"]) == 0


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("The capital of Peru is Lima, of course.", 1),
        ("It's the city of kings!", 1),
        ("<think>Lima</think><answer>Cusco</answer>", 0),
        ("Limassol", 0),
        ("Li ma", 0),
        ("", 0),
    ],
)
def test_a_mention_is_an_alias_among_other_words(reply, right):
    assert give(mentions, reply, "Lima", ["City of Kings"]) == right
    assert give(mentions, reply, "Lima", ["City of Kings"], truncated=[True]) == right


def test_a_name_of_punctuation_is_never_mentioned():
    assert give(mentions, "Anything!", "?", ["!"]) == 0


def test_votes_count_spellings_as_one_answer():
    assert alias.read("The Hague.", "Hague", CHAT) == alias.read("hague", "Hague", CHAT) == "hague"
    assert alias.read("", "Hague", CHAT) is None


@pytest.mark.parametrize("reward", [alias, mentions])
@pytest.mark.parametrize("aliases", ["Lima", [1], [" "], {"a": 1}])
def test_a_column_that_is_no_list_of_names_is_refused(reward, aliases):
    reward.check([Problem("Q?", "Lima", "k"), Problem("Q?", "Lima", "k", {"aliases": ["x"]})])
    with pytest.raises(InputError, match=r"'Q\?' \(k\): its column 'aliases' is .* must be a list of texts"):
        reward.check([Problem("Q?", "Lima", "k", {"aliases": aliases})])
