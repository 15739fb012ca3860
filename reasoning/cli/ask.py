"""``reasoning ask``: put a question to a model, once, or often enough for a vote."""

import argparse
from collections.abc import Sequence
from functools import partial

from rich.console import Console

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.core.errors import InputError
from reasoning.core.text import shortened
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.pipeline.devices import use_compile_cache
from reasoning.report.console import complain, put, put_piece, table
from reasoning.report.document import NOTHING
from reasoning.report.numbers import number
from reasoning.use.ask import STYLE_NAMES, Vote, count_votes, likeliest_reply, search_replies, style_named
from reasoning.use.find_model import find_model
from reasoning.use.loaded_model import ModelReply

_SHOWN_CHARACTERS = 400

_EPILOG = """\
examples:
  reasoning ask runs/r1_tiny/zero "3+4-5+1-8+2?"                  its likeliest reply
  reasoning ask runs/r1_tiny/zero "3+4-5+1-8+2?" --vote 16        sixteen samples, and what most of them say
  reasoning ask runs/r1_tiny/base "3+4-5+1-8+2?" --vote 16 --style think
  reasoning ask runs/r1_tiny/rl1 "3+4-5+1-8+2?" --greedy --vote 16 --beam 4
  reasoning ask runs/r1_tiny/zero "3+4-5+1-8+2?" --vote 64 --temperature 0.6 --top-p 0.95   as R1 was examined
  reasoning ask checkpoints/smollm2 "What is 2+2?" --chat smollm_2
"""


def main(arguments: Sequence[str]) -> int:
    """Prints the replies and returns the exit status."""
    chosen = parsed(_parser().parse_args, arguments)
    for name in ("temperature", "top_k", "top_p", "min_p"):
        if getattr(chosen, name) is not None and chosen.vote is None:
            raise InputError(f"--{name.replace('_', '-')} is for samples; add --vote N")
    truncation = Truncation(
        top_k=ALL_TOKENS.top_k if chosen.top_k is None else chosen.top_k,
        top_p=ALL_TOKENS.top_p if chosen.top_p is None else chosen.top_p,
        min_p=ALL_TOKENS.min_p if chosen.min_p is None else chosen.min_p,
    )
    if chosen.max_new_tokens is not None and chosen.max_new_tokens < 1:
        raise InputError(f"--max-new-tokens {chosen.max_new_tokens} leaves no room for a reply; give at least 1")
    use_compile_cache(complain)
    model, console = find_model(chosen.model, chosen.chat), output()
    question, limit, style = chosen.question, chosen.max_new_tokens, style_named(chosen.style, model.chat)
    if chosen.greedy or (chosen.vote is None and chosen.beam is None):
        show_answer(console, likeliest_reply(model, question, partial(put_piece, console), limit, style))
    if chosen.vote is not None:
        temperature = 1.0 if chosen.temperature is None else chosen.temperature
        [replies] = model.replies([question], chosen.vote, temperature, limit, chosen.seed, style, truncation)
        show_vote(console, count_votes(replies))
    if chosen.beam is not None:
        show_search(console, search_replies(model, question, chosen.beam, limit, style), chosen.beam)
    return 0


def show_answer(console: Console, reply: ModelReply) -> None:
    """Prints the answer of a reply that was shown as it was written."""
    cut = ", cut off" if reply.truncated else ""
    put(console, f"answer: {_answer(reply.answer)} ({reply.length} tokens{cut})", "bold")


def show_vote(console: Console, vote: Vote) -> None:
    """Prints one row an answer, and what votes and weights elect."""
    samples = sum(ballot.votes for ballot in vote.ballots)
    rows = (
        (
            _answer(ballot.answer),
            f"{ballot.votes:,}",
            NOTHING if ballot.answer is None else f"{ballot.weight:.1%}",
            _shown(ballot.example),
        )
        for ballot in vote.ballots
    )
    put(console, table(f"{samples} samples", ("answer", "votes", "weight", "first reply with this answer"), rows))
    put(console, f"majority: {_answer(vote.majority)}", "bold")
    put(console, f"weighted by probability: {_answer(vote.weighted)}", "bold")


def show_search(console: Console, completions: Sequence[tuple[ModelReply, float]], beams: int) -> None:
    """Prints one row a completion, best first."""
    rows = ((number(score), _answer(reply.answer), _shown(reply)) for reply, score in completions)
    put(console, table(f"beam search with {beams}", ("score", "answer", "reply"), rows))
    put(console, f"best: {_answer(completions[0][0].answer)}", "bold")


def _answer(answer: str | None) -> str:
    return "none" if answer is None else answer


def _shown(reply: ModelReply) -> str:
    return shortened(reply.text, _SHOWN_CHARACTERS) + (" (cut off)" if reply.truncated else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reasoning ask",
        description="Asks a trained model one question. Without --vote and --beam it gives its likeliest reply.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="RUN/STAGE (a run's --out and a stage that trained), or what convert wrote"
    )
    parser.add_argument("question", help="the question as the model's training problems put it")
    parser.add_argument(
        "--chat", default="", metavar="NAME", help="its chat format, such as smollm_2 (default: what the run says)"
    )
    parser.add_argument("--vote", type=int, metavar="N", help="sample N replies and count their answers")
    parser.add_argument("--beam", type=int, metavar="K", help="search with K beams and show what it finds")
    parser.add_argument("--greedy", action="store_true", help="the likeliest reply too, beside --vote or --beam")
    parser.add_argument(
        "--style", choices=STYLE_NAMES, default="plain", help="make the reply begin with thinking, or with the answer"
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="of the samples of --vote (default: 1)")
    parser.add_argument("--top-k", type=int, metavar="K", help="samples of the K likeliest tokens only (default: all)")
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="only of the likeliest with probability P together (default: all)"
    )
    parser.add_argument(
        "--min-p", type=float, metavar="P", help="only of those at least P times as likely as the likeliest"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other samples for another S (default: 0)")
    parser.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="length of a reply at most (default: 256, or the context)"
    )
    return parser
