"""A step of GRPO on the CPU, side by side: this project's on one and two XLA devices, Tunix's, and TRL's.

A step samples 8 replies to each of 2 prompts of 64 tokens, rewards them by given numbers, and updates once by AdamW on
all 16 rows, without a reference. The model and how long its replies are: ``scheduled_model.py``; the learning
rate is so small that the schedule stays. Cases: ``full``, replies of 128 tokens; ``skewed``, of 3 to 128. Every case of
every contestant runs in a process of its own, which compiles anew (first step), and contestants take turns, since
machines drift: medians, and the ratio to TRL round by round. Peers are optional, each in whichever of the environments
has it:

    python benchmarks/grpo_step.py --python /path/to/an/environment/bin/python --rounds 3
    pip install torch==2.13.0 trl==1.16.0               # CPU builds, in that environment
    pip install google-tunix==0.1.7                     # in the same one or another
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from scheduled_model import DRAW, END, FULL, NEW, PROMPT, as_text, check_replies, prompts, read_model, write_model
from side_by_side import arguments_of, found, median, peak_mebibytes, ratio, rounds_in

CASES = {"full": FULL, "skewed": DRAW}
QUESTIONS, GROUP = 2, 8
RATE = 1e-9
NEEDS = {"ours-1": "", "ours-2": "", "tunix": "tunix", "trl": "trl"}
"""The module that each contestant needs; ours none that isn't here."""


def told(walls: list[float], tokens: list[int]) -> dict[str, float]:
    """The first step's seconds, the others' median, their sampled tokens a second, and the process's peak memory."""
    speeds = [count / wall for count, wall in zip(tokens[1:], walls[1:], strict=True)]
    return {
        "first": walls[0],
        "seconds": statistics.median(walls[1:]),
        "speed": statistics.median(speeds),
        "rss": peak_mebibytes(),
    }


def timed(step: Callable[[int], list[list[int]]], last: int, steps: int) -> dict[str, float]:
    """What ``told`` says of so many steps after the first; a step gives its replies."""
    walls, tokens = [], []
    for number in range(steps + 1):
        started = time.perf_counter()
        replies = step(number)
        walls.append(time.perf_counter() - started)
        tokens.append(check_replies(replies, last))
    return told(walls, tokens)


def rewards(step: int) -> list[float]:
    """Of a step's replies, in order: no group has equal ones."""
    return [float((7 * place + 3 * step) % 5) for place in range(QUESTIONS * GROUP)]


def ours(folder: Path, last: int, steps: int, devices: int) -> dict[str, float]:
    """What stage GRPO does in a step, by the same programs, but for texts, files and checkpoints."""
    import jax

    model, mesh, params = read_model(folder, devices)
    import numpy as np

    from reasoning.core import mesh as meshes
    from reasoning.generation.engine import build_engine
    from reasoning.generation.sampler import SamplerSettings
    from reasoning.objectives.advantages import group_normalized, groups_with_signal
    from reasoning.objectives.aggregation import token_mean
    from reasoning.objectives.kl import k3
    from reasoning.objectives.policy import Clipped
    from reasoning.training.losses import policy
    from reasoning.training.optimizers import AdamW
    from reasoning.training.policy_rows import policy_rows
    from reasoning.training.program import build_assembling, build_step
    from reasoning.training.shared_prompts import ReplyGroups
    from reasoning.training.state import new_state

    engine = build_engine(model, mesh, SamplerSettings(GROUP, NEW, (END,)))
    optimizer = AdamW(RATE).build(1000)
    groups = ReplyGroups(GROUP, PROMPT, NEW).for_updates(1000)
    loss_fn = policy(model, loss=Clipped(), kl=k3, kl_coefficient=0.0, temperature=1.0, groups=groups)
    program = build_step(model, mesh, loss_fn, optimizer, 1)
    assemble = build_assembling(mesh, GROUP, group_normalized, groups_with_signal, token_mean, NEW)
    asked = prompts(QUESTIONS, last)
    start = jax.jit(lambda given: new_state(given, optimizer), out_shardings=program.shardings, donate_argnums=0)
    state = start(params)
    del params

    def step(number: int) -> list[list[int]]:
        nonlocal state
        key = jax.random.key(number)
        rollouts = engine.generate(engine.publish(state.params), asked, range(QUESTIONS), key, 1.0)
        rows = policy_rows(asked, rollouts, len(asked[0]) + NEW, ())
        batch = assemble(*meshes.to_global(mesh, (rows, np.float32(rewards(number)))))
        batch = groups.in_room(batch, model, rollouts.lengths.reshape(-1))
        state, sums = program.step(state, {}, batch)
        jax.block_until_ready(sums)
        return [
            reply[:length].tolist()
            for group, lengths in zip(rollouts.tokens, rollouts.lengths, strict=True)
            for reply, length in zip(group, lengths, strict=True)
        ]

    return timed(step, last, steps)


def trl(folder: Path, last: int, steps: int) -> dict[str, float]:
    """GRPOTrainer with transformers' generate and every core's thread."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    replies: list[list[int]] = []
    walls: list[float] = []
    tokens: list[int] = []

    def reward(completion_ids: list[list[int]], **columns: object) -> list[float]:
        replies[:] = [list(ids) for ids in completion_ids]
        return rewards(len(walls))

    class Clock(TrainerCallback):
        def on_step_begin(self, *arguments: object, **named: object) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *arguments: object, **named: object) -> None:
            walls.append(time.perf_counter() - self.started)
            tokens.append(check_replies(replies, last))

    with tempfile.TemporaryDirectory() as out:
        settings = GRPOConfig(
            output_dir=out,
            use_cpu=True,
            bf16=False,
            fp16=False,
            gradient_checkpointing=False,
            learning_rate=RATE,
            max_steps=steps + 1,
            per_device_train_batch_size=QUESTIONS * GROUP,
            num_generations=GROUP,
            max_completion_length=NEW,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            beta=0.0,
            report_to=[],
            save_strategy="no",
            logging_steps=1000,
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(folder),
            reward_funcs=reward,
            args=settings,
            train_dataset=Dataset.from_list([{"prompt": as_text(each)} for each in prompts(QUESTIONS, last)]),
            callbacks=[Clock()],
        )
        trainer.train()
    return told(walls, tokens)


def tunix(folder: Path, last: int, steps: int) -> dict[str, float]:
    """GRPOLearner with its own sampler, on one XLA device with every core's thread."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    import numpy as np
    import optax
    from scheduled_model import tunix_model
    from tunix.rl import rl_cluster as clusters
    from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
    from tunix.rl.rollout.base_rollout import RolloutConfig

    model, mesh, tokenizer = tunix_model(folder)
    started: list[float] = []
    tokens: list[int] = []

    def reward(prompts: list[str], completions: list[str], **columns: object) -> list[float]:
        replies = [[int(word[1:]) for word in text.split()] for text in completions]
        # The end symbol isn't in its texts.
        replies = [[*reply, *([END] if reply[-1:] != [END] else [])] for reply in replies]
        tokens.append(check_replies(replies, last))
        return rewards(len(started))

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for _ in range(steps + 1):
            started.append(time.perf_counter())
            yield {"prompts": np.array([as_text(each) for each in prompts(QUESTIONS, last)])}

    roles = (clusters.Role.ACTOR, clusters.Role.REFERENCE, clusters.Role.ROLLOUT)
    settings = clusters.ClusterConfig(
        role_to_mesh=dict.fromkeys(roles, mesh),
        training_config=clusters.RLTrainingConfig(
            actor_optimizer=optax.adamw(RATE),
            eval_every_n_steps=1000,
            max_steps=steps + 1,
            mini_batch_size=QUESTIONS,
            train_micro_batch_size=QUESTIONS,
        ),
        rollout_config=RolloutConfig(
            max_tokens_to_generate=NEW,
            max_prompt_length=PROMPT,
            kv_cache_size=PROMPT + NEW,
            temperature=1.0,
            top_p=1.0,
            eos_tokens=[END],
        ),
    )
    cluster = clusters.RLCluster(actor=model, tokenizer=tokenizer, cluster_config=settings)
    algorithm = GRPOConfig(num_generations=GROUP, num_iterations=1, beta=0.0)
    learner = GRPOLearner(rl_cluster=cluster, algo_config=algorithm, reward_fns=reward)
    with mesh:
        learner.train(batches())
    started.append(time.perf_counter())
    return told([end - begin for begin, end in pairwise(started)], tokens)


def measured(contestant: str, folder: Path, last: int, steps: int) -> dict[str, float]:
    """One contestant's case in this process."""
    if contestant in ("trl", "tunix"):
        return {"trl": trl, "tunix": tunix}[contestant](folder, last, steps)
    return ours(folder, last, steps, int(contestant[-1]))


def main() -> None:
    """Runs the contestants in turn and prints a table a case."""
    parser = arguments_of(__doc__, "step", CASES, NEEDS)
    parser.add_argument("--steps", type=int, default=5, help="steps after the first, of which the median counts")
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(measured(chosen.one, chosen.folder, CASES[chosen.cases[0]], chosen.steps)))
        return
    if chosen.quick:
        chosen.rounds = chosen.steps = 1
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    pythons = found(NEEDS, chosen.contestants, chosen.python)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "model"
        write_model(folder)
        print(f"{'':16} {'first s':>8} {'then s':>8} {'tokens/s':>9} {'peak MiB':>9}  tokens/s of TRL's")
        for case in chosen.cases:
            arguments = ("--folder", str(folder), "--cases", case, "--steps", str(chosen.steps))
            print_case(case, rounds_in(pythons, __file__, chosen.rounds, *arguments))


def print_case(case: str, rounds: list[dict]) -> None:
    """A line a contestant."""
    print(case)
    for name in rounds[0]:
        middle = {key: median(rounds, name, key) for key in ("first", "seconds", "speed", "rss")}
        print(
            f"  {name:14} {middle['first']:8.2f} {middle['seconds']:8.2f} {middle['speed']:9.1f} {middle['rss']:9.0f}  "
            f"{ratio(rounds, name, 'trl', 'speed')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
