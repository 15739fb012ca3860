"""A search over steps beside the best of as many samples, under one scorer, at equal tokens: what does searching cost?

16 beams with 4 branches, steps of 16 tokens and replies of 64, against 64 samples a problem, for 8 prompts of 64; the
Llama-type model of ``scheduled_model.py`` with random weights, whose replies all differ and hardly ever end early. The
scorer draws lots, so that what is measured is the engine and the bookkeeping. Both take turns in one process:

    python benchmarks/step_search.py --rounds 3
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scheduled_model import model_config, prompts, write_model

NEW, STEP, BEAMS, BRANCHES, PROBLEMS = 64, 16, 16, 4, 8
_LAST = 999
_SYMBOLS = ("begin", "system", "user", "assistant", "think_open", "think_close", "answer_open", "answer_close")


class Lots:
    """A scorer that knows nothing and takes no time."""

    separator = ""

    def scores(self, prompts: Sequence, replies: Sequence, ends: Sequence) -> list[np.ndarray]:
        """See ``evaluation.scorers.Scorer``."""
        random = np.random.default_rng(len(replies))
        return [random.random(len(places)) for places in ends]

    def cost(self, prompts: Sequence, replies: Sequence, ends: Sequence):
        """See ``evaluation.scorers.Scorer``."""
        from reasoning.evaluation.scorers import Cost

        return Cost.nothing(len(replies))


def both():
    """Who answers all questions for a seed and tells how many tokens that took: the best of 64, and the search."""
    import jax

    from reasoning.core.mesh import MeshShape, build_mesh
    from reasoning.data.chat.format import ChatFormat
    from reasoning.data.tokenizers.files import load_tokenizer
    from reasoning.evaluation.exam import Exam, Questions, candidate_of
    from reasoning.evaluation.methods import replies_by
    from reasoning.evaluation.selection import BestOf, ByScorer, Selections
    from reasoning.evaluation.steps import StepSearch
    from reasoning.models.model import build_model, init_sharded
    from reasoning.pipeline.devices import keep_freed_memory
    from reasoning.rewards.numbers import number
    from reasoning.tasks.problems import ProblemSet
    from reasoning.tasks.sums import Sums

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model")
        tokenizer = load_tokenizer(Path(folder) / "model")
    mesh = build_mesh(MeshShape())
    model = build_model(model_config(), mesh)
    params = init_sharded(model, mesh, jax.random.key(0))
    problems = ProblemSet(tasks=(Sums(),), split="test", count=PROBLEMS)
    chat = ChatFormat(**dict.fromkeys(_SYMBOLS, "t1"), end="t0")
    exam = Exam(problems=problems, scores=(number,), max_new_tokens=NEW, samples=BEAMS * BRANCHES, chat=chat)
    candidate = replace(candidate_of(exam, model, mesh, tokenizer, lambda: params), scorers={"lots": Lots()})
    questions = Questions(exam.problems.problems(), prompts(PROBLEMS, _LAST), exam.style)
    best = Selections(ways=(BestOf(size=exam.samples, by=ByScorer(scorer="lots")),))
    search = StepSearch(scorer="lots", beams=BEAMS, branches=BRANCHES, separator="t4095", step_tokens=STEP)

    def asked(method):
        def ask(seed: int) -> int:
            return int(replies_by(method, candidate, questions, jax.random.key(seed)).decoded.sum())

        return ask

    return asked(best), asked(search)


def microseconds(ask, seed: int) -> tuple[float, float]:
    """Of wall and of CPU time a token that was decoded."""
    started, begun = time.perf_counter(), time.process_time()
    tokens = ask(seed)
    return 1e6 * (time.perf_counter() - started) / tokens, 1e6 * (time.process_time() - begun) / tokens


def main() -> None:
    """Prints both, and the search by the best of 64, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    best, search = both()
    for ask in (best, search):
        ask(0)
    found = [(*microseconds(best, seed), *microseconds(search, seed)) for seed in range(1, rounds + 1)]
    for name, wall, cpu in (("best of 64", 0, 1), ("search", 2, 3)):
        middle = [statistics.median(one[place] for one in found) for place in (wall, cpu)]
        print(f"{name}: {middle[0]:.0f} us of wall and {middle[1]:.0f} us of CPU time a token")
    for name, over, under in (("wall", 2, 0), ("CPU", 3, 1)):
        ratios = [one[over] / one[under] for one in found]
        print(f"search by best of 64, {name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
