"""Documents become packed rows of tokens, once, in an artifact that any number of hosts and stages then read."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import jax

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.mesh import wait_for_all
from reasoning.core.progress import Progress
from reasoning.core.ranges import Count, Index, Positive, Size
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Documents
from reasoning.data.packing import PackedRow, Packer, PackingCounts, first_fit, pack, pack_into
from reasoning.data.sources import DocumentSource, mix
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, VocabularyKind, train_tokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.stages.checkpoint import RECORDS, tokenizer_of
from reasoning.stages.conversations import read_conversations
from reasoning.stages.stage import Context, Stage, TokenizerAtHand


def _no_symbols() -> tuple[str, ...]:
    """The symbols of a tokenizer that needs none beside its chat format's."""
    return ()


@dataclass(frozen=True, kw_only=True)
class TokenizerTraining:
    """How a vocabulary is learnt from the first ``documents`` of a corpus.

    The chat format's symbols, and those that ``symbols()`` names, become single ids.
    """

    kind: VocabularyKind = "bpe"
    size: Size  # at most so many ids
    symbols: Callable[[], tuple[str, ...]] = _no_symbols
    byte_fallback: bool = False
    documents: Count = 20_000

    def train(self, documents: Documents, chat: ChatFormat) -> Tokenizer:
        """The tokenizer of a corpus, the same for the same texts."""
        texts = (documents[index].text() for index in range(min(self.documents, len(documents))))
        model = train_tokenizer(
            texts,
            vocabulary_size=self.size,
            symbols=chat.single_ids(),
            extra_symbols=self.symbols(),
            kind=self.kind,
            byte_fallback=self.byte_fallback,
        )
        return SentencePieceTokenizer(model)


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Mixes the documents of ``sources`` by their weights, tokenizes and packs them into rows of ``length`` tokens.

    ``conversations`` are stages that collected some, mixed in the ``ratio`` of their numbers. ``tokenizer`` is either
    how to train one on these documents, or a stage that has one already. ``packer`` decides whether documents stay
    whole (``first_fit``) or rows get full (``concat_then_split``).
    """

    name: str = ""
    sources: tuple[DocumentSource, ...] = ()
    conversations: tuple[Stage, ...] = ()
    ratio: tuple[Positive, ...] = ()  # one number a stage of conversations; empty: each conversation once
    tokenizer: TokenizerTraining | Stage
    length: Size
    packer: Packer = first_fit
    chat: ChatFormat = ChatFormat()
    seed: Index = 0  # of generated documents; fixed, so that runs of several seeds share one corpus

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Writes the rows and the tokenizer; process 0 does the work, since it is done once and in one order."""
        artifacts = inputs["conversations"] if self.conversations else ()
        collected = read_conversations(artifacts, self.ratio, f"stage {self.name}")
        documents = mix((*self.sources, *collected), self.chat, self.seed)
        tally = PackingCounts()
        if jax.process_index() == 0:
            tokenizer = self.choose(inputs.get("tokenizer"), documents)
            tokenizer.save(out)
            context.report(Progress(self.name, 0, 1, {"documents": len(documents)}))
            # Rows that a run wrote which was killed just then: there is no tally of them.
            shutil.rmtree(out / RECORDS, ignore_errors=True)
            tally = pack_into(out / RECORDS, documents, tokenizer, self.length, self.packer)
            shown = {"documents": tally.documents, "rows": tally.rows, "fill": tally.fill(self.length)}
            context.report(Progress(self.name, 1, 1, shown, tally.tokens))
            if tally.dropped:
                context.warn(
                    f"stage {self.name}: {tally.dropped} of {tally.documents} conversations are longer than a row of "
                    f"{self.length} tokens and were left out"
                )
        wait_for_all(self.name)
        return Outcome("records", {"fill": tally.fill(self.length), **vars(tally)})

    def choose(self, artifact: Artifact | None, documents: Documents) -> Tokenizer:
        """The tokenizer of the given artifact, or a new one."""
        if artifact is not None:
            tokenizer = tokenizer_of(artifact)
        elif isinstance(self.tokenizer, TokenizerTraining):
            tokenizer = self.tokenizer.train(documents, self.chat)
        else:
            raise TypeError(f"stage {self.name} was run without the artifact of its tokenizer")
        tokenizer.check_symbols(self.chat)
        return tokenizer

    def tokenizer_at_hand(self) -> Tokenizer:
        """The tokenizer that ``run`` would choose, before anything has run. Raises InputError where that can't be."""
        if isinstance(self.tokenizer, TokenizerTraining):
            return self.tokenizer.train(self._written(), self.chat)
        stage: Any = self.tokenizer
        # A stage that trains hands on the tokenizer of its start, or else of its data.
        while not isinstance(stage, TokenizerAtHand):
            stage = getattr(stage, "start", None) or getattr(stage, "data", None)
            if stage is None:
                raise InputError(
                    f"stage {self.name}: which tokenizer stage {self.tokenizer.name} leaves can't be told before it "
                    f"has run; then look at RUN/{self.name}"
                )
        return stage.tokenizer_at_hand()

    def peek(self, count: int) -> tuple[Tokenizer, list[PackedRow]]:
        """The first ``count`` rows that ``run`` would write, and their tokenizer; nothing is written.

        Raises InputError for conversations, which other stages have yet to collect, and as ``pack`` does.
        """
        documents, tokenizer = self._written(), self.tokenizer_at_hand()
        tokenizer.check_symbols(self.chat)
        return tokenizer, list(islice(pack(documents, tokenizer, self.length, self.packer, PackingCounts()), count))

    def _written(self) -> Documents:
        if self.conversations:
            names = ", ".join(stage.name for stage in self.conversations)
            raise InputError(
                f"stage {self.name}: its rows are made of what {names} collect, which have to run first; then look at "
                f"RUN/{self.name}"
            )
        return mix(self.sources, self.chat, self.seed)

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``; reads how many documents there are, and nothing else."""
        written = len(mix(self.sources, self.chat, self.seed)) if self.sources else 0
        return {"documents": written, "row length": self.length} if written else {"row length": self.length}
