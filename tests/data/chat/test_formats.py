"""The formats against the makers' own templates, as ``make_golden_chats.py`` rendered them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat import formats as chat_formats
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.thinking import Framed
from reasoning.data.columns import read_row
from reasoning.data.messages import read_turns
from reasoning.experiment.reader import read_experiment

GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("chats.json").read_text())
CONVERSATIONS, FORMATS = GOLDEN["conversations"], GOLDEN["formats"]
CASES = [(key, title) for key in FORMATS for title in CONVERSATIONS]
EVERY = {name: chat for name, chat in vars(chat_formats).items() if isinstance(chat, ChatFormat)}
THOUGHT = "<think>\nOne and one.\n</think>\n\nTwo."


def written(chat, messages):
    """What a model reads before it replies, or the whole text of a conversation that ends in a reply."""
    if messages[-1]["role"] == "assistant":
        return chat.document(messages).text()
    return chat.conversation(messages) + chat.opening


def expected(key, title):
    """The template's text, with what our format does otherwise on purpose."""
    messages, text = CONVERSATIONS[title], FORMATS[key]["texts"][title]
    if key == "GEMMA" and "System role not supported" in text:
        return FORMATS["GEMMA_3"]["texts"][title]
    thought = any("</think>" in message["content"] for message in messages)
    if key == "DEEPSEEK_V3_FIRST" and (thought or title == "two systems"):
        return expected("DEEPSEEK_V3", title)
    if key.startswith("DEEPSEEK") and "</think>" in messages[-1]["content"]:
        return text.rpartition("<｜Assistant｜>")[0] + f"<｜Assistant｜>{messages[-1]['content']}<｜end▁of▁sentence｜>"
    if key == "DEEPSEEK_R1_DISTILL" and title == "two systems":
        return FORMATS["DEEPSEEK_R1"]["texts"][title]
    forgotten = messages[0]["role"] == "system" and messages[-1]["role"] == "assistant"
    if key == "MISTRAL_TEKKEN" and forgotten and not text.startswith("refused"):
        before, opener, after = text.rpartition("[INST]")
        return f"{before}{opener}{messages[0]['content']}\n\n{after}"
    return text


def test_each_format_has_a_template_and_each_template_says_where_it_is_from():
    assert set(EVERY) == {found["format"] for found in FORMATS.values()}
    assert all(len(found["sha256"]) == 64 and ": " in found["template"] for found in FORMATS.values())
    assert len(CASES) >= 300


@pytest.mark.parametrize(("key", "title"), CASES)
def test_a_conversation_is_written_as_the_template_writes_it(key, title):
    chat, text = EVERY[FORMATS[key]["format"]], expected(key, title)
    chat = replace(chat, date=FORMATS[key]["given"].get("date_string", chat.date))
    if text.startswith("refused"):
        with pytest.raises(InputError, match="take turns"):
            written(chat, CONVERSATIONS[title])
    else:
        assert written(chat, CONVERSATIONS[title]) == text


TOOLS = GOLDEN["tool_conversations"]
TOOL_CASES = [(key, title) for key in FORMATS for title in FORMATS[key].get("tools", ())]


IDENTIFIED = GOLDEN["tool_conversations_with_ids"]


def written_with_tools(chat, messages, schemas):
    """What ``written`` gives, of a conversation with tools as a row of a file holds it."""
    if messages[-1]["role"] == "assistant":
        return read_row({"messages": messages, "tools": schemas}, ("messages",), chat, "").text()
    resumed = chat.resume is not None and messages[-1]["role"] == "tool"
    return chat.conversation_of(read_turns(messages, chat, ""), schemas) + ("" if resumed else chat.opening)


def expected_of_tools(key, title):
    """The template's text, with what our format does otherwise on purpose; or what it is refused for."""
    messages, text = TOOLS[title]["messages"], FORMATS[key]["tools"][title]
    rounds = [message for message in messages if message.get("tool_calls")]
    spoken = any(message["content"] for message in rounds)
    if text.startswith("refused"):
        return None, "writes one call of a tool a turn"
    if key.startswith("LLAMA") and spoken:
        return None, "no text beside it"  # the template forgets what is said beside a call
    if key.startswith("DEEPSEEK") and len(rounds) > 1:
        return None, "writes one round of calls of tools a conversation; here are 2"  # which the template runs together
    if key.startswith(("DEEPSEEK", "MISTRAL")) and spoken:
        return None, "writes no text beside a call of a tool; here are"
    if key.startswith("MISTRAL") and messages[0]["role"] == "system" and messages[-1]["role"] == "assistant":
        before, opener, after = text.rpartition("[INST]")
        return f"{before}{opener}{messages[0]['content']}\n\n{after}", None
    return text, None


@pytest.mark.parametrize(("key", "title"), TOOL_CASES)
def test_calls_and_answers_of_tools_are_written_as_the_template_writes_them(key, title):
    chat = EVERY[FORMATS[key]["format"]]
    chat = replace(chat, date=FORMATS[key]["given"].get("date_string", chat.date))
    messages, schemas = TOOLS[title]["messages"], TOOLS[title]["tools"]
    text, refused = expected_of_tools(key, title)
    if key.startswith("MISTRAL"):
        messages = IDENTIFIED[title]
    if key.startswith("DEEPSEEK") and schemas:  # which the template forgets
        with pytest.raises(InputError, match="no place for the tools on offer"):
            written_with_tools(chat, messages, schemas)
        schemas = []
    if refused:
        with pytest.raises(InputError, match=refused):
            written_with_tools(chat, messages, schemas)
    else:
        assert written_with_tools(chat, messages, schemas) == text


@pytest.mark.parametrize("chat", EVERY.values(), ids=EVERY)
def test_formats_whose_templates_have_no_tools_say_so(chat):
    assert chat.tools in [None, *(EVERY[FORMATS[key]["format"]].tools for key, _ in TOOL_CASES)]
    if not chat.tools:
        for title in ("a call", "offered, a question", "offered"):
            with pytest.raises(InputError, match="this chat format writes no tools, neither calls nor answers"):
                written_with_tools(chat, *TOOLS[title].values())


@pytest.mark.parametrize("title", ["a call", "a call, an answer"])
def test_deepseeks_releases_write_tools_alike_but_for_what_the_prompt_opens(title):
    messages = TOOLS[title]["messages"]
    assert written_with_tools(EVERY["DEEPSEEK_V3"], messages, []) == FORMATS["DEEPSEEK_R1"]["tools"][title]


@pytest.mark.parametrize("chat", EVERY.values(), ids=EVERY)
def test_only_the_reply_and_its_end_are_learnt(chat):
    document = chat.exchange("1 + 1?", "Two.")
    learnt = "".join(piece.text for piece in document.pieces if piece.learn)
    frame = "<think>\n\n</think>\n\n" if chat.thinking == Framed() and not chat.opening else ""
    assert learnt == f"{frame}Two.{chat.end}"
    assert document.pieces[0].text.startswith(chat.ask("1 + 1?"))


@pytest.mark.parametrize("chat", EVERY.values(), ids=EVERY)
def test_a_reply_that_thinks_goes_on_from_where_the_prompt_ends(chat):
    asked, reply, *rest = chat.exchange("1 + 1?", THOUGHT).pieces
    given = chat.opening if THOUGHT.startswith(chat.opening) else ""
    assert (asked.text, asked.learn) == (chat.ask("1 + 1?") + given, False)
    assert (reply.text, reply.learn) == (THOUGHT.removeprefix(given) + chat.end, True)
    assert [piece.learn for piece in rest] in ([], [False])


@pytest.mark.parametrize("name", ["DEEPSEEK_R1", "DEEPSEEK_V3", "QWEN_3"])
def test_a_reply_that_lost_its_thinking_is_read_and_not_learnt(name):
    chat = EVERY[name]
    turns = [("user", "1 + 1?"), ("assistant", THOUGHT), ("user", "Sure?"), ("assistant", THOUGHT)]
    document = chat.document([{"role": role, "content": content} for role, content in turns])
    assert document.text().count("<think>") == document.text().count("One and one.") == 1
    assert [piece.text.removeprefix("<think>\n") for piece in document.pieces if piece.learn] == [
        f"{THOUGHT.removeprefix('<think>' + chr(10))}{chat.end}"
    ]


def test_earlier_replies_without_thinking_are_learnt_too():
    turns = [("user", "1 + 1?"), ("assistant", "2"), ("user", "2 + 2?"), ("assistant", "4")]
    for chat in (EVERY["LLAMA_3_1"], EVERY["SMOLLM_2"], EVERY["DEEPSEEK_R1"]):
        document = chat.document([{"role": role, "content": content} for role, content in turns])
        assert [piece.text for piece in document.pieces if piece.learn] == [f"2{chat.end}", f"4{chat.end}"]


@pytest.mark.parametrize("chat", EVERY.values(), ids=EVERY)
def test_no_content_may_hold_what_opens_or_closes_a_turn(chat):
    framing = chat.conversation([{"role": "user", "content": "\0"}]).split("\0")[-1] + chat.end
    held = [symbol for symbol in chat.structure() if symbol in framing]
    assert chat.end in held and all(chat.structure())
    assert set(chat.single_ids()) <= set(chat.structure())


def test_plain_text_stands_between_the_familys_own_begin_and_end():
    assert EVERY["LLAMA_3"].plain("x").text() == "<|begin_of_text|>x<|end_of_text|>"
    assert EVERY["QWEN_2_5"].plain("x").text() == "x<|endoftext|>"
    assert EVERY["GEMMA"].plain("x").text() == "<bos>x<eos>"
    assert EVERY["OLMO_2"].plain("x").text() == "<|endoftext|>x<|endoftext|>"


EXPERIMENT = """
chains = @tasks.chains.Chains
problems = @tasks.problems.ProblemSet
problems.tasks = (chains,)
problems.split = 'test'
problems.count = 4
quiz = @rollouts.sampling.Sampling
quiz.problems = problems
quiz.max_new_tokens = 8
"""


def test_an_experiment_names_a_familys_format(tmp_path):
    (tmp_path / "named.gin").write_text(EXPERIMENT + "quiz.chat = @data.chat.formats.DEEPSEEK_R1\n")
    experiment = read_experiment(tmp_path / "named.gin")
    assert experiment.part("quiz").chat is chat_formats.DEEPSEEK_R1
    (tmp_path / "resolved.gin").write_text(experiment.resolved(["quiz"]))
    again = read_experiment(tmp_path / "resolved.gin")
    assert again.part("quiz") == experiment.part("quiz")
    assert again.describe(again.part("quiz")) == experiment.describe(experiment.part("quiz"))
    assert experiment.describe(experiment.part("quiz"))["chat"]["opening"] == "<think>\n"


def test_an_experiment_writes_a_format_of_its_own(tmp_path):
    own = "talk = @data.chat.format.ChatFormat\ntalk.close = '|'\ntalk.other_ends = ('#',)\nquiz.chat = talk\n"
    (tmp_path / "own.gin").write_text(EXPERIMENT + own)
    found = read_experiment(tmp_path / "own.gin").part("quiz").chat
    assert found == ChatFormat(close="|", other_ends=("#",))
    (tmp_path / "resolved.gin").write_text(read_experiment(tmp_path / "own.gin").resolved(["quiz"]))
    assert read_experiment(tmp_path / "resolved.gin").part("quiz").chat == found


def test_an_experiment_changes_a_field_of_a_familys_format(tmp_path):
    lines = "talk = @data.chat.formats.LLAMA_3_1\ntalk.date = '01 Jan 2026'\nquiz.chat = talk\n"
    (tmp_path / "dated.gin").write_text(EXPERIMENT + lines)
    found = read_experiment(tmp_path / "dated.gin").part("quiz").chat
    assert found == replace(chat_formats.LLAMA_3_1, date="01 Jan 2026")
    (tmp_path / "resolved.gin").write_text(read_experiment(tmp_path / "dated.gin").resolved(["quiz"]))
    assert read_experiment(tmp_path / "resolved.gin").part("quiz").chat == found


def test_the_command_line_names_a_format_in_small_letters():
    assert chat_formats.format_named("smollm_2") is chat_formats.format_named("SMOLLM_2") is chat_formats.SMOLLM_2
    with pytest.raises(InputError, match="there is no chat format 'smolm2'; did you mean 'smollm_2'"):
        chat_formats.format_named("smolm2")
    with pytest.raises(InputError, match="there are smollm_2, qwen_2_5"):
        chat_formats.format_named("xyz")
