"""``reasoning ask``: put a question to a model, once, or often enough for a vote; or talk with it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.core.errors import InputError
from reasoning.core.text import shortened
from reasoning.data.chat.format import Message
from reasoning.findings.numbers import number
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.pipeline.devices import use_compile_cache
from reasoning.report.console import complain, put, put_piece, table
from reasoning.report.document import NOTHING
from reasoning.use.ask import STYLE_NAMES, Vote, count_votes, likeliest_reply, search_replies, style_named
from reasoning.use.find_model import find_model
from reasoning.use.loaded_model import LoadedModel, ModelReply
from reasoning.use.searches import CHOICES, Drawing, sampled_replies

_SHOWN_CHARACTERS = 400
_SHOWN_ANSWERS = 8

_EPILOG = """\
examples:
  reasoning ask runs/r1_tiny/zero "3+4-5+1-8+2?"                  its likeliest reply
  reasoning ask runs/r1_tiny/zero "3+4-5+1-8+2?" --vote 16        sixteen samples, and what most of them say
  reasoning ask runs/r1_tiny/base "3+4-5+1-8+2?" --vote 16 --style think
  reasoning ask runs/r1_tiny/rl1 "3+4-5+1-8+2?" --greedy --vote 16 --beam 4
  reasoning ask runs/r1_tiny/zero "3+4-5+1-8+2?" --vote 64 --temperature 0.6 --top-p 0.95   as R1 was examined
  reasoning ask runs/r1_tiny/r1 "3+4-5+1-8+2?" --search majority --samples 16 --think-budget 32   votes as they come
  reasoning ask runs/r1_tiny/r1                                   a conversation, a question a line
  reasoning ask checkpoints/smollm2 "What is 2+2?" --chat smollm_2
"""


def main(arguments: Sequence[str]) -> int:
    """Prints the replies and returns the exit status."""
    chosen = parsed(_parser().parse_args, arguments)
    talking = _is_talk(chosen)
    truncation = Truncation(
        top_k=ALL_TOKENS.top_k if chosen.top_k is None else chosen.top_k,
        top_p=ALL_TOKENS.top_p if chosen.top_p is None else chosen.top_p,
        min_p=ALL_TOKENS.min_p if chosen.min_p is None else chosen.min_p,
    )
    use_compile_cache(complain)
    model, console = find_model(chosen.model, chosen.chat), output()
    if talking:
        asking = _Asking(model, console, chosen, truncation)
        return _talk(asking) if chosen.question is None else _show(asking, chosen.question)
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


def _is_talk(chosen: argparse.Namespace) -> bool:
    """Whether one search answers each question. Raises InputError for arguments that don't belong together."""
    sampled = chosen.search in CHOICES
    for name in ("temperature", "top_k", "top_p", "min_p"):
        if getattr(chosen, name) is not None and chosen.vote is None and not sampled:
            raise InputError(f"--{name.replace('_', '-')} is for samples; add --vote N")
    for name in ("samples", "think_budget"):
        if getattr(chosen, name) is not None and not (sampled or (name == "samples" and chosen.search == "beam")):
            raise InputError(f"--{name.replace('_', '-')} is for a search; add --search, one of {', '.join(CHOICES)}")
    talking = chosen.search is not None or chosen.question is None
    if talking and (chosen.vote is not None or chosen.beam is not None or chosen.greedy):
        raise InputError("--vote, --beam and --greedy show one question's replies; leave them out, or --search")
    if chosen.max_new_tokens is not None and chosen.max_new_tokens < 1:
        raise InputError(f"--max-new-tokens {chosen.max_new_tokens} leaves no room for a reply; give at least 1")
    return talking


@dataclass(frozen=True)
class _Asking:
    """How each question is answered and shown."""

    model: LoadedModel
    console: Console
    chosen: argparse.Namespace
    truncation: Truncation


def _show(asking: _Asking, question: str) -> int:
    _answered(asking, question, ())
    return 0


def _talk(asking: _Asking) -> int:
    """A question a line, each with what was said before; one that can't be asked is said, and the next one read."""
    history: list[Message] = []
    put(asking.console, "a question a line; an empty line begins another conversation", "dim")
    for line in sys.stdin:
        question = line.strip()
        if not question:
            history.clear()
            continue
        try:
            reply = _answered(asking, question, tuple(history))
        except InputError as error:
            complain(f"error: {error}")
            continue
        history += [{"role": "user", "content": question}, {"role": "assistant", "content": reply.text}]
    return 0


def _answered(asking: _Asking, question: str, history: Sequence[Message]) -> ModelReply:
    """Shows what the search finds, and gives the reply that stands for it."""
    model, console, chosen = asking.model, asking.console, asking.chosen
    limit, style = chosen.max_new_tokens, style_named(chosen.style, model.chat)
    samples = 16 if chosen.samples is None else chosen.samples
    if chosen.search == "beam":
        found = search_replies(model, question, samples, limit, style, history)
        show_search(console, found, samples)
        return found[0][0]
    if chosen.search not in CHOICES:
        reply = likeliest_reply(model, question, partial(put_piece, console), limit, style, history)
        show_answer(console, reply)
        return reply
    drawing = Drawing(
        samples=samples,
        temperature=1.0 if chosen.temperature is None else chosen.temperature,
        max_new_tokens=limit,
        seed=chosen.seed,
        style=style,
        truncation=asking.truncation,
        think_budget=chosen.think_budget,
    )
    replies = sampled_replies(model, question, drawing, partial(_show_progress, console, samples), history)
    answer = CHOICES[chosen.search](replies)
    put(console, f"{chosen.search}: {_answer(answer)} ({sum(reply.length for reply in replies):,} tokens)", "bold")
    return next(reply for reply in replies if reply.answer == answer)


def _show_progress(console: Console, samples: int, ended: Sequence[ModelReply]) -> None:
    """Prints how the votes stand now that so many samples have ended."""
    ballots = count_votes(ended).ballots
    told = ", ".join(f"{_answer(ballot.answer)} × {ballot.votes}" for ballot in ballots[:_SHOWN_ANSWERS])
    more = f", {len(ballots) - _SHOWN_ANSWERS} more" if len(ballots) > _SHOWN_ANSWERS else ""
    put(console, f"{len(ended)} of {samples} samples: {told}{more}")


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
    parser.add_argument(
        "question", nargs="?", help="the question as the model's training problems put it (default: a conversation)"
    )
    parser.add_argument(
        "--search",
        choices=("greedy", *CHOICES, "beam"),
        help="how its answer is found: the likeliest reply, by votes of samples, by their probability, the sample with "
        "the likeliest tokens, or the best of so many beams",
    )
    parser.add_argument("--samples", type=int, metavar="N", help="samples of --search, or beams (default: 16)")
    parser.add_argument("--think-budget", type=int, metavar="N", help="tokens that each sample thinks, at most")
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
