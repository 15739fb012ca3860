"""How tools are written, by examples written out by hand; ``test_formats.py`` compares with the makers' templates."""

import json
from dataclasses import dataclass, replace

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.texts import ToolCall, Turn
from reasoning.data.chat.tools import FencedCalls, IdentifiedCalls, SingleCalls, TaggedTools, json_text

OWN = ChatFormat(system="S:", user="U:", assistant="A:", end=".", close=";", tool="T:", tools=TaggedTools())
ASKED = Turn("user", "when", learn=False)
CALL = Turn("assistant", "", learn=True, calls=(ToolCall("clock", '{"a": 1}'),))
NINE, TEN = Turn("tool", "9", learn=False), Turn("tool", "10", learn=False)
SAID = Turn("assistant", "nine", learn=True)


def test_calls_are_learnt_and_what_tools_answer_is_read():
    document = OWN.document_of([ASKED, CALL, NINE, TEN, SAID])
    assert [(piece.text, piece.learn) for piece in document.pieces] == [
        ("U:when;A:", False),
        ('<tool_call>\n{"name": "clock", "arguments": {"a": 1}}\n</tool_call>.', True),
        ("T:<tool_response>\n9\n</tool_response>\n<tool_response>\n10\n</tool_response>;A:", False),
        ("nine.", True),
    ]


def test_a_family_of_single_calls_writes_json_alone():
    chat = replace(OWN, tools=SingleCalls(), preface="[", default_system="")
    text = chat.document_of([ASKED, CALL, NINE, SAID]).text()
    assert text == 'S:[;U:when;A:{"name": "clock", "parameters": {"a": 1}}.T:"9";A:nine.'
    offered = chat.document_of([ASKED, CALL], [{"x": "é"}]).text()
    assert (
        offered.startswith("S:Environment: ipython\n[;U:Given the following")
        and '{\n    "x": "é"\n}\n\nwhen;' in offered
    )
    for turns in ([CALL], []):
        with pytest.raises(InputError, match="offers tools in the first question"):
            SingleCalls()(chat, turns, [{"x": 1}])


@pytest.mark.parametrize("calls", [CALL.calls * 2, CALL.calls])
def test_a_family_of_single_calls_refuses_several_and_text_beside_one(calls):
    turn = replace(CALL, calls=calls, content="" if len(calls) > 1 else "Hm.")
    with pytest.raises(
        InputError, match=f"one call of a tool a turn, and no text beside it; here are {len(calls)} and"
    ):
        replace(OWN, tools=SingleCalls()).document_of([ASKED, turn])


FENCED = replace(OWN, tool="", tool_close="", resume="", tools=FencedCalls())
NAMED = replace(OWN, tool="", tool_close="", tools=IdentifiedCalls())


def test_what_goes_on_behind_answers_of_fenced_calls_is_the_same_turn_and_learnt():
    document = FENCED.document_of([ASKED, CALL, NINE, TEN, SAID])
    assert [(piece.text, piece.learn) for piece in document.pieces] == [
        ("U:when;A:", False),
        (
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>clock\n```json\n"
            '{"a": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>.',
            True,
        ),
        (
            "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>9<｜tool▁output▁end｜>"
            "<｜tool▁output▁begin｜>10<｜tool▁output▁end｜><｜tool▁outputs▁end｜>",
            False,
        ),
        ("nine.", True),
    ]


def test_fenced_calls_refuse_what_would_run_together():
    with pytest.raises(InputError, match="what tools answer is followed by the assistant"):
        FENCED.document_of([ASKED, CALL, NINE, ASKED, SAID])
    with pytest.raises(InputError, match="a turn of the tool holds <｜tool▁, which only"):
        FENCED.document_of([ASKED, CALL, replace(NINE, content="<｜tool▁call▁end｜>"), SAID])


def test_calls_and_answers_that_are_named_name_each_other():
    call = replace(CALL, calls=(ToolCall("clock", '{"a": 1}', "abcdefgh1"),))
    answer = replace(NINE, call_id="abcdefgh1")
    document = NAMED.document_of([ASKED, call, answer, SAID], [{"function": {"name": "x", "return": 1, "y": [2]}}])
    assert [(piece.text, piece.learn) for piece in document.pieces] == [
        (
            '[AVAILABLE_TOOLS][{"type": "function", "function": {"name": "x", "y": [2]}}][/AVAILABLE_TOOLS]U:when;A:',
            False,
        ),
        ('[TOOL_CALLS][{"name": "clock", "arguments": {"a": 1}, "id": "abcdefgh1"}].', True),
        ('[TOOL_RESULTS]{"content": 9, "call_id": "abcdefgh1"}[/TOOL_RESULTS]A:', False),
        ("nine.", True),
    ]
    for turns in ([ASKED, CALL], [ASKED, call, NINE, SAID], [ASKED, call, replace(answer, call_id="abc-efgh1"), SAID]):
        with pytest.raises(InputError, match="by ids of nine letters and digits, and answers by tool_call_id; here is"):
            NAMED.document_of(turns)
    with pytest.raises(InputError, match="offers tools before the last question, and the conversation has none"):
        NAMED.document_of([call], [{"function": {}}])
    with pytest.raises(InputError, match="offers tools by their functions, and a schema has none"):
        NAMED.document_of([ASKED, call], [{"name": "x"}])


def test_what_is_on_offer_ends_the_systems_text_or_is_all_of_it():
    for default, before in ((None, "S:# Tools\n"), ("Hm", "S:Hm\n\n# Tools\n")):
        text = replace(OWN, default_system=default).document_of([ASKED, SAID], [{"x": 1}, {"y": 2}]).text()
        assert (
            text.startswith(before)
            and '<tools>\n{"x": 1}\n{"y": 2}\n</tools>' in text
            and text.endswith(";U:when;A:nine.")
        )


def test_a_call_that_holds_a_tag_of_thinking_is_refused_since_replies_are_cut_there():
    turn = replace(CALL, calls=(ToolCall("f", '{"a": "</think>"}'),))
    with pytest.raises(InputError, match="a call of a tool holds a tag of thinking"):
        OWN.document_of([ASKED, turn])


def test_json_keeps_its_order_and_letters():
    assert json_text({"b": "é<", "a": None}) == '{"b": "é<", "a": null}'
    assert json.loads(json_text({"a": [1]}, indent=4)) == {"a": [1]}


@dataclass(frozen=True)
class Odd:
    given: object

    def __call__(self, chat, turns, schemas):
        return self.given


@pytest.mark.parametrize("given", [None, ("text", []), (OWN, ["turn"]), (OWN,)])
def test_a_users_tools_that_give_something_else_are_refused_by_name(given):
    with pytest.raises(InputError, match="of a chat format gave"):
        replace(OWN, tools=Odd(given)).document_of([ASKED, CALL])


def test_a_conversation_without_tools_is_written_as_without_a_way_to_write_them():
    assert OWN.document_of([ASKED, SAID]) == replace(OWN, tools=Odd(None)).document_of([ASKED, SAID])
