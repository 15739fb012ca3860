"""Sampling on the CPU, side by side: this project's engine on one and two XLA devices, Tunix's, and transformers'.

The model and how long its replies are: ``scheduled_model.py``. Cases: ``1``, ``8`` and ``64`` prompts of 64 tokens with
replies of 128; ``skewed``, 16 prompts of 8 samples, with replies of 3 to 128 tokens, 32 side by side; ``512`` requests
of such replies, for how full the slots of an engine are. Engines that can't refill slots get the skewed requests in
batches of 32, each of which lasts until its longest reply ends. Every case of every contestant runs in a process of its
own, which compiles anew (first call), and contestants take turns, since machines drift: medians, and the ratio to
transformers round by round. Peers are optional, each in whichever of the environments has it:

    python benchmarks/rollouts.py --python /path/to/an/environment/bin/python --rounds 3
    pip install torch==2.13.0 transformers==5.24.0      # CPU builds, in that environment
    pip install google-tunix==0.1.7                     # in the same one or another
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scheduled_model import (
    DRAW,
    END,
    FULL,
    HEADS,
    LAYERS,
    NEW,
    PROMPT,
    WIDTH,
    as_text,
    check_replies,
    prompts,
    read_model,
    write_model,
)
from side_by_side import arguments_of, found, median, peak_mebibytes, ratio, rounds_in

CASES = ("1", "8", "64", "skewed", "512")
GROUP, SLOTS = 8, 32
NEEDS = {"ours-1": "", "ours-2": "", "tunix": "tunix", "transformers": "transformers"}
"""The module that each contestant needs; ours none that isn't here."""

Replies = list[list[int]]


def sizes(case: str, quick: bool) -> tuple[int, int, int]:
    """Prompts of a case, samples of each, and the token that they end in."""
    if case == "skewed":
        return (4 if quick else 16), GROUP, DRAW
    if case == "512":
        return (8 if quick else 64), GROUP, DRAW
    return int(case), 1, FULL


def timed(generate: Callable[[int], Replies], last: int, calls: int) -> dict[str, float]:
    """The first call's seconds, the median of the others', their tokens a second, and the process's peak memory."""
    started = time.perf_counter()
    check_replies(generate(0), last)
    first, walls, speeds = time.perf_counter() - started, [], []
    for call in range(1, calls + 1):
        started = time.perf_counter()
        replies = generate(call)
        walls.append(time.perf_counter() - started)
        speeds.append(check_replies(replies, last) / walls[-1])
    middle = sorted(range(calls), key=lambda call: speeds[call])[calls // 2]
    peak = peak_mebibytes()
    return {"first": first, "seconds": walls[middle], "speed": speeds[middle], "rss": peak}


def ours(folder: Path, case: str, quick: bool, calls: int, devices: int) -> dict[str, float]:
    """The engine that GRPO and exams use; and how many of the rows that it decodes draw a token that is kept."""
    import jax

    model, mesh, params = read_model(folder, devices)
    from dataclasses import replace

    from reasoning.generation.engine import build_engine
    from reasoning.generation.sampler import SamplerSettings

    count, samples, last = sizes(case, quick)
    asked = prompts(count, last)
    settings = SamplerSettings(samples, NEW, (END,), slots=SLOTS // devices if samples > 1 else 0)
    decoded: list[int] = []

    def sampler(model) -> Callable[[int], Replies]:
        engine = build_engine(model, mesh, settings)
        weights = engine.publish(params)

        def generate(call: int) -> Replies:
            rollouts = engine.generate(weights, asked, range(count), jax.random.key(call), 1.0)
            return [
                reply[:length].tolist()
                for group, lengths in zip(rollouts.tokens, rollouts.lengths, strict=True)
                for reply, length in zip(group, lengths, strict=True)
            ]

        return generate

    def counted(weights, tokens, cache):
        jax.debug.callback(lambda rows: decoded.append(len(rows)), tokens)
        return model.decode(weights, tokens, cache)

    found = timed(sampler(model), last, calls)
    if devices == 1 and samples > 1:
        kept = check_replies(sampler(replace(model, decode=counted))(0), last)
        jax.effects_barrier()
        found["occupied"] = kept / sum(decoded)
    return found


def transformers(folder: Path, case: str, quick: bool, calls: int) -> dict[str, float]:
    """``generate`` with every core's thread, all of the distribution at temperature 1."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    count, samples, last = sizes(case, quick)
    asked = prompts(count, last)

    def generate(call: int) -> Replies:
        torch.manual_seed(call)
        step, replies = (SLOTS // samples if samples > 1 else count), []
        for start in range(0, count, step):
            tokens = torch.tensor(asked[start : start + step])
            with torch.no_grad():
                made = model.generate(
                    tokens,
                    attention_mask=torch.ones_like(tokens),
                    max_new_tokens=NEW,
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    top_p=1.0,
                    num_return_sequences=samples,
                    eos_token_id=END,
                    pad_token_id=END,
                )
            replies += made[:, PROMPT:].tolist()
        return replies

    return timed(generate, last, calls)


def tunix(folder: Path, case: str, quick: bool, calls: int) -> dict[str, float]:
    """Its own sampler, on one XLA device with every core's thread; ``top_p`` is how it is asked to draw at all."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    from scheduled_model import tunix_model
    from tunix.generate.sampler import CacheConfig, Sampler

    model, mesh, tokenizer = tunix_model(folder)
    count, samples, last = sizes(case, quick)
    texts = [as_text(prompt) for prompt in prompts(count, last) for _ in range(samples)]
    sampler = Sampler(model, tokenizer, CacheConfig(PROMPT + NEW, LAYERS, HEADS, WIDTH // HEADS))
    step = SLOTS if samples > 1 else count

    def generate(call: int) -> Replies:
        replies: Replies = []
        for start in range(0, len(texts), step):
            made = sampler(
                texts[start : start + step],
                max_generation_steps=NEW,
                max_prompt_length=PROMPT,
                temperature=1.0,
                top_p=1.0,
                eos_tokens=[END],
                seed=call * len(texts) + start,
            )
            # It leaves the end symbol away.
            replies += [[*map(int, reply), *([END] if len(reply) < NEW else [])] for reply in made.tokens]
        return replies

    with mesh:
        return timed(generate, last, calls)


def measured(contestant: str, folder: Path, case: str, quick: bool, calls: int) -> dict[str, float]:
    """One contestant's case in this process."""
    if contestant in ("transformers", "tunix"):
        return {"transformers": transformers, "tunix": tunix}[contestant](folder, case, quick, calls)
    return ours(folder, case, quick, calls, int(contestant[-1]))


def main() -> None:
    """Runs the contestants in turn and prints a table a case."""
    parser = arguments_of(__doc__, "call (of small cases)", CASES, NEEDS)
    parser.add_argument("--calls", type=int, default=3, help="calls after the first, of which the median counts")
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(measured(chosen.one, chosen.folder, chosen.cases[0], chosen.quick, chosen.calls)))
        return
    if chosen.quick:
        chosen.rounds = chosen.calls = 1
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    pythons = found(NEEDS, chosen.contestants, chosen.python)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "model"
        write_model(folder)
        print(
            f"{'':16} {'first s':>8} {'then s':>8} {'tokens/s':>9} {'peak MiB':>9} {'occupied':>9}  "
            "tokens/s of transformers'"
        )
        for case in chosen.cases:
            arguments = ("--folder", str(folder), "--cases", case, "--calls", str(chosen.calls))
            quick = ("--quick",) if chosen.quick else ()
            print_case(case, rounds_in(pythons, __file__, chosen.rounds, *arguments, *quick))


def print_case(case: str, rounds: list[dict]) -> None:
    """A line a contestant."""
    print(case)
    for name in rounds[0]:
        middle = {key: median(rounds, name, key) for key in ("first", "seconds", "speed", "rss")}
        full = f"{median(rounds, name, 'occupied'):.1%}" if "occupied" in rounds[0][name] else ""
        print(
            f"  {name:14} {middle['first']:8.2f} {middle['seconds']:8.2f} {middle['speed']:9.1f} {middle['rss']:9.0f} "
            f"{full:>9}  {ratio(rounds, name, 'transformers', 'speed')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
