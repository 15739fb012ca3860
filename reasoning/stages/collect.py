"""Rejection sampling: a trained model answers problems, and the replies that pass every test become training data.

Shapes: P problems of a batch, S samples a problem.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.fingerprints import vouch, vouched
from reasoning.core.mesh import check_room, wait_for_all
from reasoning.core.prng import stage_key
from reasoning.core.program import Program
from reasoning.core.progress import Progress
from reasoning.core.ranges import Index, Size
from reasoning.evaluation.exam import judged
from reasoning.evaluation.results import SAMPLES, Replies, read_samples, write_samples
from reasoning.evaluation.tables import rows_of
from reasoning.generation.calls import sampling_told
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.shaping import Shaping
from reasoning.models.flops import forward_flops
from reasoning.rollouts.rating import Reward, check_judged, check_names, remarks_on, reward_name
from reasoning.rollouts.sampling import (
    TruncatedSampling,
    allowed_by,
    sample_for_all,
    sampler_for,
    truncating,
    truncation_of,
    without,
)
from reasoning.rollouts.text import encode_prompts
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of
from reasoning.stages.conversations import write_conversations
from reasoning.stages.place import Place, asked_of
from reasoning.stages.programs import model_before, publishing_program
from reasoning.stages.stage import Context, Stage
from reasoning.training.first_process import on_first_process
from reasoning.training.preemption import Interrupted

_SHOWN = 100
"""Replies, kept or not, that ``samples.jsonl`` shows."""


@dataclass(frozen=True, kw_only=True)
class Collect(TruncatedSampling):
    """Samples ``start`` on ``problems`` and keeps the replies to which each function of ``keep`` gives 1, each once.

    DeepSeek-R1 (arXiv 2501.12948, section 2.3.3): several replies a prompt, the right and readable ones retained.
    """

    name: str = ""
    start: Stage
    keep: tuple[Reward, ...]
    samples: Size = 4  # replies a problem
    wanted: Index = 0  # stop when so many are kept (0: ask every problem)
    batch: Size = 64  # problems asked at once
    # Characters that no reply may hold, so that one who drifted into another language can still be asked for readable
    # answers: tokens with one of them are never drawn.
    forbidden: str = ""

    def __post_init__(self) -> None:
        check_names(self.keep, "keep")
        if not self.keep:
            raise InputError("keep is empty; name at least one function that says which replies are good")

    def check(self, mesh: Mesh) -> None:
        """Raises InputError for a problem that a function of ``keep`` can't judge, or too many replies at once."""
        check_judged(self.keep, self.problems)
        replies = min(self.batch, self.problems.count) * self.samples
        check_room(replies * self.max_new_tokens, mesh, f"stage {self.name}: the replies to a batch of problems")

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Samples batch by batch, each a file of its own, so that a run that was cut off goes on with the next one."""
        self.check(context.mesh)
        for remark in remarks_on(self.keep, self.problems):
            context.warn(f"stage {self.name}: {remark}")
        start, mesh = inputs["start"], context.mesh
        tokenizer, model = tokenizer_of(start), model_of(start, mesh, context.kernels)
        problems = self.problems.problems()
        prompts = encode_prompts(problems, self.chat, tokenizer, self.max_new_tokens, model.config.context)
        longest = max(map(len, prompts))
        engine = sampler_for(model, mesh, tokenizer, self.chat, self.samples, self.max_new_tokens, self.slots, longest)
        generate = truncating(engine.generate, truncation_of(self))
        if self.forbidden:
            generate = partial(generate, shaping=without(self.forbidden, tokenizer))
        weights = engine.publish(params_of(start, model, mesh))
        key, parts = stage_key(context.seed, self.name), out / "parts"
        parts.mkdir(exist_ok=True)
        batches = -(-len(problems) // self.batch)
        collected = Collected(self.wanted)
        for number in range(batches):
            file, first = parts / f"{number:06}.jsonl", number * self.batch
            if not on_first_process(partial(vouched, file, context.warn)):
                asked = problems[first : first + self.batch]
                with context.at_once():
                    rollouts = sample_for_all(generate, weights, prompts, first, self.batch, key, self.temperature)
                    answers = judged(self.keep, asked, rollouts, tokenizer, self.chat)
                if jax.process_index() == 0:
                    write_samples(file, self.sifted(rows_of(start.stage, asked, answers, "samples", first=first)))
                    vouch(file)
                wait_for_all(str(file))
            collected.add(read_samples(file))
            context.report(Progress(self.name, number + 1, batches, collected.shown(), collected.tokens))
            if collected.enough():
                break
            signal = context.stop(number + 1)
            if signal is not None and number + 1 < batches:
                raise Interrupted(signal)
        self.check_kept(collected, context)
        if jax.process_index() == 0:
            tokenizer.save(out)
            write_conversations(out, collected.kept.values())
            write_samples(out / SAMPLES, collected.examples)
        wait_for_all(self.name)
        if jax.process_index() == 0:  # All have read them, and what a run that is killed here lacks it samples again.
            shutil.rmtree(parts)
        read = round(collected.sampled / self.samples * sum(map(len, prompts)) / len(prompts))
        flops = forward_flops(model.config, read + collected.tokens, self.max_new_tokens)
        counts = {"sampled": collected.sampled, "tokens": collected.tokens, "flops": flops}
        return Outcome("records", {**collected.shown(), **counts})

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile, and how often it is called where all problems are asked."""
        model = model_before(self.start, place, self.name)
        asked = asked_of(place, self.name, self, self.start, model.config.context)
        batches = -(-asked.prompts // self.batch)
        at_once = min(self.batch, asked.prompts)
        settings = SamplerSettings(self.samples, self.max_new_tokens, asked.ends, self.slots, asked.longest)
        shaping = Shaping() if self.forbidden else None  # which tokens are left is no matter of the program
        sample = sampling_told(
            "sample", model, place.mesh, settings, at_once, allowed_by(self), batches, shaping=shaping
        )
        return publishing_program(model, place, settings), sample

    def sifted(self, rows: Iterable[Replies]) -> Iterator[Replies]:
        """The rows with the replies that are kept; a function of ``keep`` that doesn't apply to a reply gives it 0.

        A reply that was not graded isn't kept. One that holds a symbol which only the chat format may write is never
        kept: it could not be trained on. Nor is one with a forbidden character, which several tokens may spell.
        """
        structure = self.chat.structure()
        for row in rows:
            scores = {
                name: tuple(None if value is None else float(np.nan_to_num(value)) for value in values)
                for name, values in row.scores.items()
            }
            passed = [all(map(_right, values)) for values in zip(*scores.values(), strict=True)]
            clean = [not self._forbids(text) and not any(symbol in text for symbol in structure) for text in row.texts]
            kept = tuple(right and free for right, free in zip(passed, clean, strict=True))
            yield replace(row, scores=scores, kept=kept)

    def _forbids(self, text: str) -> bool:
        """Whether a reply holds a forbidden character outside its tags."""
        for tag in filter(None, self.chat.tags()):
            text = text.replace(tag, "")
        return any(character in text for character in self.forbidden)

    def check_kept(self, collected: "Collected", context: Context) -> None:
        """Raises InputError where nothing was kept, with the share that each test passed; warns of less than wanted."""
        if not collected.kept:
            shares = {name: collected.passed.get(name, 0) / collected.sampled for name in map(reward_name, self.keep)}
            passed = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
            raise InputError(
                f"stage {self.name}: none of {collected.sampled} replies passed all of keep (passed: {passed}); train "
                "its start further, sample more, or drop a test"
            )
        if len(collected.kept) < self.wanted:
            context.warn(
                f"stage {self.name}: kept {len(collected.kept)} replies of {self.wanted} wanted, after "
                f"{collected.sampled} samples of all its problems; raise samples or the number of problems"
            )

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {"replies at most": self.problems.count * self.samples}


def _right(value: float | None) -> bool:
    """Whether a value is a full one; None was not graded."""
    return value is not None and value >= 1


@dataclass
class Collected:
    """What the batches so far have given; kept replies by question and text, since each is kept once.

    From ``wanted`` on (0: never) no more are kept: what is counted, shown and written is one and the same.
    """

    wanted: int
    kept: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    examples: list[Replies] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=dict)
    sampled: int = 0
    tokens: int = 0

    def add(self, rows: Sequence[Replies]) -> None:
        """Counts one batch."""
        for row in rows:
            self.sampled += len(row.texts)
            self.tokens += sum(row.lengths)
            for name, values in row.scores.items():
                self.passed[name] = self.passed.get(name, 0) + sum(map(_right, values))
            for text, passed in zip(row.texts, row.kept, strict=True):
                if passed and not self.enough():
                    conversation = {"prompt": row.question, "completion": text, "answer": row.answer, "kind": row.kind}
                    self.kept.setdefault((row.question, text), conversation)
            if len(row.texts) * (len(self.examples) + 1) <= max(_SHOWN, len(row.texts)):
                pairs = zip(row.texts, row.kept, strict=True)
                written = tuple(passed and (row.question, text) in self.kept for text, passed in pairs)
                self.examples.append(replace(row, kept=written))

    def enough(self) -> bool:
        """Whether as many are kept as are wanted."""
        return 0 < self.wanted <= len(self.kept)

    def shown(self) -> dict[str, float]:
        """The numbers of the progress line and of the artifact's results."""
        return {"kept": len(self.kept), "kept share": len(self.kept) / max(self.sampled, 1)}
