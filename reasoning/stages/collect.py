"""Rejection sampling: a trained model answers problems, and the replies that pass every test become training data.

Shapes: P problems of a batch, S samples a problem.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reasoning.core.artifact import Artifact, Outcome, Stage
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_atomic
from reasoning.core.mesh import wait_for_all
from reasoning.core.prng import stage_key
from reasoning.core.progress import Progress
from reasoning.core.ranges import Count, Index, Positive
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import end_ids
from reasoning.generation.engine import Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.flops import forward_flops
from reasoning.rollouts.rating import Reward, check_names, rate, reward_name
from reasoning.rollouts.sampling import sample_for_all
from reasoning.rollouts.text import decode_replies, encode_prompts
from reasoning.stages.context import Context
from reasoning.stages.conversations import write_conversations
from reasoning.stages.saved import model_of, params_of, tokenizer_of
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.training.preemption import Interrupted

SHOWN = 100
"""Replies, kept or not, that ``samples.jsonl`` shows."""


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Samples ``start`` on ``problems`` and keeps the replies to which each function of ``keep`` gives 1, each once.

    DeepSeek-R1 (arXiv 2501.12948, section 2.3.3): several replies a prompt, the right and readable ones retained.
    """

    name: str = ""
    start: Stage
    problems: ProblemSet
    keep: tuple[Reward, ...]
    max_new_tokens: Count
    samples: Count = 4  # replies a problem
    wanted: Index = 0  # stop when so many are kept (0: ask every problem)
    temperature: Positive = 1.0
    batch: Count = 64  # problems asked at once
    chat: ChatFormat = ChatFormat()

    def __post_init__(self) -> None:
        check_names(self.keep, "keep")
        if not self.keep:
            raise InputError("keep is empty; name at least one function that says which replies are good")

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Samples batch by batch, each a file of its own, so that a run that was cut off goes on with the next one."""
        tokenizer, model = tokenizer_of(inputs["start"]), model_of(inputs["start"], context.mesh)
        problems = self.problems.problems()
        prompts = encode_prompts(problems, self.chat, tokenizer, self.max_new_tokens, model.config.context)
        ends = end_ids(tokenizer, self.chat)
        engine = build_engine(model, context.mesh, SamplerSettings(self.samples, self.max_new_tokens, ends))
        weights = engine.publish(params_of(inputs["start"], model, context.mesh))
        key, parts = stage_key(context.seed, self.name), out / "parts"
        parts.mkdir(exist_ok=True)
        batches = -(-len(problems) // self.batch)
        tally = Tally()
        for number in range(batches):
            file, start = parts / f"{number:06}.json", number * self.batch
            if not file.exists():
                rollouts = sample_for_all(engine, weights, prompts, start, self.batch, key, self.temperature)
                texts = decode_replies(tokenizer, rollouts, self.chat, self.chat.opening)
                rows = self.judged(problems[start : start + self.batch], texts, rollouts)
                if jax.process_index() == 0:
                    write_atomic(file, json.dumps(rows, ensure_ascii=False))
                wait_for_all(str(file))
            tally.add(read_json(file))
            context.report(Progress(self.name, number + 1, batches, tally.shown(), tally.tokens))
            if self.wanted and len(tally.kept) >= self.wanted:
                break
            signal = context.stop(number + 1)
            if signal is not None and number + 1 < batches:
                raise Interrupted(signal)
        self.check_kept(tally, context)
        if jax.process_index() == 0:
            tokenizer.save(out)
            write_conversations(out, list(tally.kept.values())[: self.wanted or None])
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in tally.examples]
            write_atomic(out / "samples.jsonl", "".join(lines))
        wait_for_all(self.name)
        read = round(tally.sampled / self.samples * sum(map(len, prompts)) / len(prompts))
        flops = forward_flops(model.config, read + tally.tokens, self.max_new_tokens)
        return Outcome("records", {**tally.shown(), "sampled": tally.sampled, "tokens": tally.tokens, "flops": flops})

    def judged(self, problems: Sequence[Problem], texts: list[list[str]], rollouts: Rollouts) -> list[dict[str, Any]]:
        """One row a reply, with what each function of ``keep`` gave it.

        ``clean`` says that it holds no symbol which only the chat format may write; others could not be trained on.
        """
        structure = self.chat.structure()
        values = rate(self.keep, problems, texts, rollouts.truncated, self.chat)
        return [
            {
                "prompt": problem.question,
                "completion": texts[place][sample],
                "answer": problem.answer,
                "kind": problem.kind,
                "tokens": int(rollouts.lengths[place, sample]),
                "clean": not any(symbol in texts[place][sample] for symbol in structure),
                "scores": {name: float(np.nan_to_num(each[place, sample])) for name, each in values.items()},
            }
            for place, problem in enumerate(problems)
            for sample in range(self.samples)
        ]

    def check_kept(self, tally: "Tally", context: Context) -> None:
        """Raises InputError where nothing was kept, with the share that each test passed; warns of less than wanted."""
        if not tally.kept:
            passed = ", ".join(
                f"{name} {tally.passed.get(name, 0) / tally.sampled:.1%}" for name in map(reward_name, self.keep)
            )
            raise InputError(
                f"stage {self.name}: none of {tally.sampled} replies passed all of keep (passed: {passed}); train its "
                "start further, sample more, or drop a test"
            )
        if len(tally.kept) < self.wanted:
            context.warn(
                f"stage {self.name}: kept {len(tally.kept)} replies of {self.wanted} wanted, after {tally.sampled} "
                "samples of all its problems; raise samples or the number of problems"
            )

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {"replies at most": self.problems.count * self.samples}


class Tally:
    """What the batches so far have given; kept replies by question and text, since each is kept once."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, str]] = {}
        self.examples: list[dict[str, Any]] = []
        self.passed: dict[str, int] = {}
        self.sampled = self.tokens = 0

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Counts one batch."""
        for row in rows:
            self.sampled += 1
            self.tokens += row["tokens"]
            for name, value in row["scores"].items():
                self.passed[name] = self.passed.get(name, 0) + (value >= 1)
            good = row["clean"] and all(value >= 1 for value in row["scores"].values())
            if good:
                texts = {name: row[name] for name in ("prompt", "completion", "answer", "kind")}
                self.kept.setdefault((row["prompt"], row["completion"]), texts)
            if len(self.examples) < SHOWN:
                self.examples.append({**row, "kept": good})

    def shown(self) -> dict[str, float]:
        """The numbers of the progress line and of the artifact's results."""
        return {"kept": len(self.kept), "kept share": len(self.kept) / max(self.sampled, 1)}
