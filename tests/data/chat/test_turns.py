"""Where the system's text stands, by examples written out by hand; and a family that a user's own file adds."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.template import chat_template
from reasoning.data.chat.turns import SystemAtStart, SystemInQuestion, SystemTurn
from reasoning.experiment.describe import describe, user_sources
from reasoning.experiment.reader import read_experiment
from reasoning.experiment.restore import restore

PLAIN = ChatFormat(system="S:", user="U:", assistant="A:", end=".", close=";")


def written(chat, *turns):
    return chat.conversation([{"role": role, "content": content} for role, content in turns])


TALK = (("system", " Be brief. "), ("user", " one "), ("assistant", "1"), ("user", "two"))


def test_the_systems_turn_is_the_first_and_keeps_its_white_space_unless_trimmed():
    assert written(PLAIN, *TALK) == "S: Be brief. ;U: one ;A:1.U:two;A:"
    trimmed = replace(PLAIN, turns=SystemTurn(trim=True), preface="On {date}: ", date="Monday")
    assert written(trimmed, *TALK) == "S:On Monday: Be brief.;U:one;A:1.U:two;A:"


def test_a_system_that_the_conversation_lacks_says_what_is_set_and_nothing_otherwise():
    assert written(PLAIN, *TALK[1:]) == "U: one ;A:1.U:two;A:"
    default = replace(PLAIN, default_system="Hm")
    assert written(default, ("user", "x")) == "S:Hm;U:x;A:"
    assert written(replace(default, turns=SystemAtStart()), ("user", "x")) == "HmU:x;A:"
    assert written(replace(default, turns=SystemInQuestion()), ("user", "x")) == "U:Hm\n\nx;A:"


def test_all_that_the_system_says_stands_at_the_start():
    chat = replace(PLAIN, start="^", turns=SystemAtStart())
    assert written(chat, *TALK, ("system", "Again.")) == "^ Be brief. \n\nAgain.U: one ;A:1.U:two;A:"


def test_a_question_the_first_or_the_last_begins_with_what_the_system_says():
    first, last = (replace(PLAIN, turns=SystemInQuestion(last=last, trim=not last)) for last in (False, True))
    assert written(first, *TALK) == "U: Be brief. \n\none;A:1.U:two;A:"
    assert written(last, *TALK) == "U: one ;A:1.U: Be brief. \n\ntwo;A:"


def test_a_family_that_takes_turns_refuses_two_of_one_side():
    chat = replace(PLAIN, turns=SystemInQuestion())
    for turns in ((("user", "x"), ("user", "y")), (("assistant", "x"),)):
        with pytest.raises(InputError, match="user and assistant must take turns"):
            written(chat, *turns)


MINE = '''
from dataclasses import dataclass

def shouted(chat, turns):
    """Everything that the system says, in capitals, between marks of its own and before the first turn."""
    said = " ".join(turn.content.upper() for turn in turns if turn.role == "system")
    return f"[SYS]{said}[/SYS]", [turn for turn in turns if turn.role != "system"]

def mute(chat, turns):
    return [turn for turn in turns if turn.role != "assistant" or turn.learn]

@dataclass(frozen=True)
class Told:
    mark: str = "!"

    def __call__(self, chat, turns):
        return self.mark, turns

    def template(self, chat):
        before = "{%- set turns = messages %}" + "{{- '" + chat.start + self.mark + "' }}"
        return (before,), ("{%- set content = turn['content'] %}",)
'''
FILE = """
chains = @tasks.chains.Chains
problems = @tasks.problems.ProblemSet
problems.tasks = (chains,)
problems.split = 'test'
problems.count = 4
talk = @data.chat.ChatFormat
talk.user = 'U:'
talk.turns = @my_family.shouted
talk.thinking = @my_family.mute
quiz = @rollouts.sampling.Sampling
quiz.problems = problems
quiz.max_new_tokens = 8
quiz.chat = talk
"""


@pytest.fixture
def my_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_family.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module("my_family")


def test_a_users_own_family_is_named_in_a_file_hashed_by_its_source_and_restored(tmp_path: Path, my_family):
    (tmp_path / "mine.gin").write_text(FILE)
    experiment = read_experiment(tmp_path / "mine.gin")
    chat = experiment.part("quiz").chat
    assert chat == ChatFormat(user="U:", turns=my_family.shouted, thinking=my_family.mute) and len({chat}) == 1
    assert written(chat, ("system", "Be brief."), ("user", "x")) == "[SYS]BE BRIEF.[/SYS]U:x<|assistant|>"
    (tmp_path / "resolved.gin").write_text(experiment.resolved(["quiz"]))
    assert read_experiment(tmp_path / "resolved.gin").part("quiz").chat == chat
    described = describe(chat)
    assert (described["turns"], described["thinking"]) == ("@my_family.shouted", "@my_family.mute")
    assert restore(described) == chat
    assert list(user_sources(chat)) == ["my_family"]


def test_a_users_own_family_is_exported_if_it_says_itself_in_jinja(my_family):
    jinja2 = pytest.importorskip("jinja2")
    with pytest.raises(InputError, match="turns = shouted, which can't say itself in jinja; make it a record with"):
        chat_template(replace(PLAIN, turns=my_family.shouted))
    with pytest.raises(InputError, match="thinking = mute, which can't say itself in jinja"):
        chat_template(replace(PLAIN, thinking=my_family.mute))
    chat = replace(PLAIN, start="^", turns=my_family.Told("?"))
    asked = [{"role": "user", "content": "x"}]
    text = jinja2.Environment().from_string(chat_template(chat)).render(messages=asked, add_generation_prompt=True)
    assert text == chat.ask("x") == "^?U:x;A:"
    assert restore(describe(chat)) == chat
