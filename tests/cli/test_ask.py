"""``reasoning ask``: what it prints for one reply, a vote and a search, and how it refuses."""

import io
from pathlib import Path

import gguf_file
import pytest
from rich.console import Console
from tiny_run import write_tiny_run
from tiny_stages import TEST

from reasoning.cli.ask import show_answer, show_search, show_vote
from reasoning.cli.main import main
from reasoning.report.console import put_piece
from reasoning.use.ask import ModelReply, count_votes

QUESTION = TEST.problems()[0].question


@pytest.fixture(scope="module")
def base(corpus, base, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_run(tmp_path_factory.mktemp("asked"), corpus, base) / "base")


@pytest.fixture(autouse=True)
def no_other_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept as the tests have it")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["ask", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_without_more_it_gives_the_likeliest_reply(base: str, capsys: pytest.CaptureFixture[str]):
    first = printed(capsys, base, QUESTION, "--max-new-tokens", "8")
    assert "answer: " in first and "tokens" in first
    assert printed(capsys, base, QUESTION, "--max-new-tokens", "8", "--seed", "5") == first
    assert printed(capsys, base, QUESTION, "--max-new-tokens", "8", "--style", "think").startswith("<think>")


@pytest.mark.slow
def test_a_vote_shows_answers_and_both_winners(base: str, capsys: pytest.CaptureFixture[str]):
    arguments = (base, QUESTION, "--max-new-tokens", "8", "--vote", "16")
    shown = printed(capsys, *arguments)
    assert "16 samples" in shown and "majority: " in shown and "weighted by probability: " in shown
    assert "answer: " not in shown  # no greedy reply unless asked for
    assert printed(capsys, *arguments) == shown
    assert printed(capsys, *arguments, "--seed", "1") != shown
    assert printed(capsys, *arguments, "--top-k", "1") == printed(capsys, *arguments, "--top-p", "1e-6")
    alike = printed(capsys, *arguments, "--temperature", "0")
    assert [line.split()[1] for line in alike.splitlines() if "16 " in line and "samples" not in line] == ["16"]


@pytest.mark.slow
def test_a_search_and_a_greedy_reply_can_be_had_beside_a_vote(base: str, capsys: pytest.CaptureFixture[str]):
    shown = printed(capsys, base, QUESTION, "--max-new-tokens", "8", "--greedy", "--vote", "2", "--beam", "3")
    places = [shown.index(text) for text in ("answer: ", "2 samples", "majority: ", "beam search with 3", "best: ")]
    assert places == sorted(places)


@pytest.mark.slow
def test_a_search_shows_votes_as_samples_end_and_a_conversation_goes_on_to_the_end_of_the_input(
    base: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    shown = printed(capsys, base, QUESTION, "--max-new-tokens", "8", "--search", "majority", "--samples", "5")
    assert "5 of 5 samples: " in shown and "majority: " in shown
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTION}\n\n\x1b[31m{QUESTION}\x1b[0m\n"))
    assert main(["ask", base, "--max-new-tokens", "8"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("answer: ") == 1 and captured.err.startswith("error: ") and "\x1b" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--samples", "4"), "--samples is for a search; add --search, one of majority, weighted, best"),
        (("--search", "greedy", "--think-budget", "4"), "--think-budget is for a search"),
        (("--search", "best", "--vote", "4"), "leave them out, or --search"),
        (("--temperature", "0.5"), "--temperature is for samples; add --vote N"),
        (("--top-p", "0.5"), "--top-p is for samples; add --vote N"),
        (("--vote", "2", "--min-p", "2"), "no token can be drawn with top_k 0, top_p 1.0 and min_p 2.0"),
        (("--max-new-tokens", "0"), "--max-new-tokens 0 leaves no room for a reply"),
        (("--vote", "0"), "0 replies at temperature 1.0 can't be sampled"),
        (("--beam", "0"), "a search with 0 beams finds nothing"),
        (("--max-new-tokens", "32"), "more than the model's context of 32"),
    ],
)
def test_what_makes_no_sense_ends_with_one_line(
    base: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
):
    assert main(["ask", base, QUESTION, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_an_unknown_stage_ends_with_those_that_there_are(base: str, capsys: pytest.CaptureFixture[str]):
    assert main(["ask", str(Path(base).parent / "rl1"), QUESTION]) == 2
    assert "has no finished stage 'rl1'; stages with a model are base" in capsys.readouterr().err


def test_a_model_of_no_run_is_asked_in_the_chat_format_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    gguf_file.write(tmp_path / "model.gguf", context_length=128)
    model = str(tmp_path / "model.gguf")
    assert "4 tokens, cut off" in printed(capsys, model, "1", "--chat", "smollm_2", "--max-new-tokens", "4")
    assert main(["ask", model, "1", "--chat", "smollm2"]) == 2
    assert "did you mean 'smollm_2'?" in capsys.readouterr().err
    assert main(["ask", model, "1"]) == 2
    assert "--chat NAME" in capsys.readouterr().err


def test_nothing_that_a_terminal_acts_on_is_printed():
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=False)
    wicked = ModelReply("\x1b[31mred[bold]\u202e=6\x07", "6\x1b]0;title\x07[red]", -1.0, 3, False)
    put_piece(console, wicked.text)
    show_answer(console, wicked)
    show_vote(console, count_votes([wicked, wicked]))
    show_search(console, [(wicked, -0.5)], 1)
    shown = file.getvalue()
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}
    assert shown.count("red[bold]=6") == 3 and "6[red]" in shown  # markup is text


def test_a_reply_that_was_cut_off_says_so_and_a_vote_without_answers_elects_none():
    file = io.StringIO()
    console = Console(file=file, width=100)
    cut = ModelReply("3+8=", None, -1.0, 4, True)
    show_answer(console, cut)
    show_vote(console, count_votes([cut]))
    shown = file.getvalue()
    assert "answer: none (4 tokens, cut off)" in shown
    assert "majority: none" in shown and "3+8= (cut off)" in shown
