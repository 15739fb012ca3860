"""Documents become packed rows of tokens, once, in an artifact that any number of hosts and stages then read."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.contents import ReadsFiles
from reasoning.core.errors import InputError
from reasoning.core.mesh import wait_for_all
from reasoning.core.progress import Progress
from reasoning.core.ranges import Count, Index, Positive, Size
from reasoning.core.signatures import function_words
from reasoning.data.bad_rows import BadRows, keep_bad_rows, listed, without_bad_rows
from reasoning.data.chat.format import ChatFormat
from reasoning.data.cleaning import Cleaner
from reasoning.data.corpus import Corpus, open_corpus
from reasoning.data.documents import Document, Documents, every_reply
from reasoning.data.duplicates import Duplicates, NearDuplicates
from reasoning.data.mixture import Mixture, MixtureTally
from reasoning.data.packing import PackedRow, Packer, PackingCounts, first_fit, pack, pack_into, pack_some
from reasoning.data.sources import DocumentSource
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.sentencepiece import SentencePieceTokenizer, VocabularyKind, train_tokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.stages.checkpoint import RECORDS, tokenizer_of
from reasoning.stages.clean import clean, clean_beginning
from reasoning.stages.conversations import read_conversations
from reasoning.stages.pieces import Meter, Pieces, count_tokens, pack_blocks
from reasoning.stages.stage import Context, Stage, holder_of_tokenizer
from reasoning.tasks.contamination import Decontamination, Shunning
from reasoning.tasks.problems import ProblemSet

_PIECES = "pieces"
"""The folder of what an unfinished stage goes on from."""


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

    def train(self, documents: Iterable[Document], chat: ChatFormat) -> Tokenizer:
        """The tokenizer of a corpus, the same for the same texts."""
        texts = (document.text() for document in islice(documents, self.documents))
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

    ``conversations`` are stages that collected some, mixed in the ``ratio`` of their numbers. With a ``mixture`` shares
    of tokens take the place of weights and ratio. ``tokenizer`` is either how to train one on these documents, or a
    stage that has one already. ``packer`` decides whether documents stay whole (``first_fit``) or rows get full
    (``concat_then_split``). With ``block`` so many documents at a time are packed by themselves: a run that was killed
    goes on after the last block, and processes share them; the rows depend on ``block``, not on either. ``learn`` says
    which replies of a conversation are learnt (``data.documents.last_reply``: the last alone). Up to ``skip_bad`` rows
    that can't be used are passed over and listed in ``bad_rows.txt``, for which the files are read once more; one more
    stops the stage.
    """

    name: str = ""
    sources: tuple[DocumentSource, ...] = ()
    conversations: tuple[Stage, ...] = ()
    ratio: tuple[Positive, ...] = ()  # one number a stage of conversations; empty: each conversation once
    mixture: Mixture | None = None  # one share a source, then one a stage of conversations
    tokenizer: TokenizerTraining | Stage
    length: Size
    packer: Packer = first_fit
    block: Index = 0  # documents packed at a time; 0: all of them, by one process
    # What of files is left out, one after the other; () for nothing. What programs write, and conversations that other
    # stages collected, are taken as they are: they repeat themselves on purpose, and splits keep exams out of them.
    cleaning: tuple[Cleaner, ...] = (Duplicates(), NearDuplicates(), Decontamination())
    chat: ChatFormat = ChatFormat()
    learn: Callable[[Document], Document] = every_reply
    skip_bad: Index = 0
    seed: Index = 0  # of generated documents; fixed, so that runs of several seeds share one corpus

    def __post_init__(self) -> None:
        if self.mixture is not None:
            self._check_mixture(len(self.mixture.shares))

    def shunning(self, exams: Mapping[str, ProblemSet]) -> "Prepare":
        """With these exams to be kept out of what files say; where none are read, exams make no difference."""
        if not any(isinstance(source, ReadsFiles) for source in self.sources):
            return self
        told = (each.shunning(exams) if isinstance(each, Shunning) else each for each in self.cleaning)
        return replace(self, cleaning=tuple(told))

    def shuns(self, problems: ProblemSet) -> bool:
        """Whether these problems' questions are kept out."""
        return any(isinstance(each, Shunning) and each.shuns(problems) for each in self.cleaning)

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Writes the rows and the tokenizer; without blocks process 0 does the work, once and in one order."""
        artifacts = inputs["conversations"] if self.conversations else ()
        readable, bad = self._readable()
        kept, removed = clean(readable, self.cleaning, self.chat, self.seed, out, self._shared(out), self.name, context)
        sources = (*kept, *read_conversations(artifacts, self.ratio, f"stage {self.name}"))
        corpus = self._corpus(sources)
        tally, mixed = PackingCounts(), MixtureTally()
        if jax.process_index() == 0 or self.block:
            pieces = self._pieces(out)
            tokenizer = self._chosen(inputs.get("tokenizer"), corpus, out, pieces)
            documents = corpus.documents(self._lengths(corpus, tokenizer, pieces, context), mixed)
            tally = self._pack(documents, tokenizer, out, pieces, context)
        if jax.process_index() == 0:
            shutil.rmtree(out / _PIECES)
            shown = {"documents": tally.documents, "rows": tally.rows, "fill": tally.fill(self.length)}
            context.report(Progress(self.name, 1, 1, shown, tally.tokens))
            keep_bad_rows(out, bad.told)
            for warning in (*self._dropped(tally), *self._dry(mixed, sources), *self._passed_over(bad)):
                context.warn(f"stage {self.name}: {warning}")
        wait_for_all(self.name)
        shares = mixed.results(corpus.sizes()) if mixed.documents else {}
        passed = {"bad_rows": len(bad.told)} if bad.told else {}
        return Outcome("records", {"fill": tally.fill(self.length), **vars(tally), **shares, **passed, **removed})

    def choose(self, artifact: Artifact | None, documents: Iterable[Document]) -> Tokenizer:
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
            return self.tokenizer.train(self._written().sample(), self.chat)
        # A stage that trains hands on the tokenizer of its start, or else of its data.
        stage = holder_of_tokenizer(self.tokenizer)
        if stage is None:
            raise InputError(
                f"stage {self.name}: which tokenizer stage {self.tokenizer.name} leaves can't be told before it "
                f"has run; then look at RUN/{self.name}"
            )
        return stage.tokenizer_at_hand()

    def peek(self, count: int) -> tuple[Tokenizer, list[PackedRow]]:
        """The first ``count`` rows that ``run`` would write, and their tokenizer; nothing is written.

        Of files only the first 20,000 documents are read, so that it takes seconds to look at large ones.

        Raises InputError for conversations, which other stages have yet to collect, and as ``pack`` does.
        """
        corpus, tokenizer = self._written(), self.tokenizer_at_hand()
        tokenizer.check_symbols(self.chat)
        documents = corpus.stream(tokenizer)
        if self.block:
            # Blocks are packed by themselves, and of each the rows are those of its documents alone.
            blocks = iter(lambda: list(islice(documents, self.block)), [])
            rows = (row for some in blocks for row in self._rows_of(some, tokenizer))
        else:
            rows = pack(documents, tokenizer, self.length, self.packer, PackingCounts())
        return tokenizer, list(islice(rows, count))

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``; reads how many documents there are, and nothing else."""
        written = open_corpus(self.sources, self.mixture, self.chat, self.seed).count() if self.sources else 0
        return {"documents": written, "row length": self.length} if written else {"row length": self.length}

    def _written(self) -> Corpus:
        if self.conversations:
            names = ", ".join(stage.name for stage in self.conversations)
            raise InputError(
                f"stage {self.name}: its rows are made of what {names} collect, which have to run first; then look at "
                f"RUN/{self.name}"
            )
        kept = clean_beginning(self._readable()[0], self.cleaning, self.chat, self.seed)
        return self._corpus(kept)

    def _readable(self) -> tuple[tuple[DocumentSource, ...], BadRows]:
        """The sources without their bad rows, and these."""
        bad = BadRows(f"stage {self.name}", self.skip_bad)
        return without_bad_rows(self.sources, bad, self.chat, self.seed), bad

    def _corpus(self, sources: Sequence[DocumentSource]) -> Corpus:
        """The documents of these sources, with what of them is learnt."""
        corpus = open_corpus(sources, self.mixture, self.chat, self.seed)
        return replace(corpus, parts=tuple(map(self._learnt, corpus.parts)))

    def _learnt(self, documents: Documents) -> Documents:
        """Raises InputError, when a document is asked for, for a ``learn`` that gives something else."""

        def make(index: int) -> Document:
            chosen = self.learn(documents[index])
            if not isinstance(chosen, Document):
                raise InputError(
                    f"stage {self.name}: {function_words(self.learn)} gave {chosen!r:.60}; learn must return a Document"
                )
            return chosen

        return Documents(len(documents), make)

    def _passed_over(self, bad: BadRows) -> Iterator[str]:
        if bad.told:
            yield f"{len(bad.told)} bad rows were passed over (skip_bad = {self.skip_bad}):{listed(bad.told)}"

    def _rows_of(self, block: list[Document], tokenizer: Tokenizer) -> Iterator[PackedRow]:
        return pack_some(block, tokenizer, self.length, self.packer, PackingCounts())

    def _pieces(self, out: Path) -> Pieces:
        """Of all processes with blocks, of this one alone without."""
        (out / _PIECES).mkdir(exist_ok=True)
        return self._shared(out) if self.block else Pieces(out / _PIECES, 0, 1, lambda what: None)

    def _shared(self, out: Path) -> Pieces:
        def wait(what: str) -> None:
            wait_for_all(f"{self.name}: {what}")

        return Pieces(out / _PIECES, jax.process_index(), jax.process_count(), wait)

    def _chosen(self, artifact: Artifact | None, corpus: Corpus, out: Path, pieces: Pieces) -> Tokenizer:
        """The tokenizer, which process 0 chooses and saves for all."""
        chosen = None
        if pieces.index == 0:
            chosen = self.choose(artifact, corpus.sample())
            chosen.save(out)
        pieces.wait("tokenizer")
        return chosen or load_tokenizer(out)

    def _lengths(self, corpus: Corpus, tokenizer: Tokenizer, pieces: Pieces, context: Context) -> list[np.ndarray]:
        """The tokens of each part's documents, where there is a mixture, which alone asks for them."""
        if self.mixture is None:
            return []
        meter = Meter(context.report, self.name, sum(corpus.sizes()) // pieces.count)
        return count_tokens(corpus.parts, tokenizer, pieces, meter)

    def _pack(
        self, documents: Documents, tokenizer: Tokenizer, out: Path, pieces: Pieces, context: Context
    ) -> PackingCounts:
        context.report(Progress(self.name, 0, 1, {"documents": len(documents)}))
        meter = Meter(context.report, self.name, len(documents) // pieces.count)
        if pieces.index == 0:
            # Rows that a run wrote which was killed just then: there is no tally of them.
            shutil.rmtree(out / RECORDS, ignore_errors=True)
        if self.block:
            return pack_blocks(out / RECORDS, documents, tokenizer, self.length, self.packer, self.block, pieces, meter)
        tally = PackingCounts()
        passing = meter.passing(documents, tally)
        pack_into(out / RECORDS, passing, tokenizer, self.length, self.packer, tally)
        return tally

    def _check_mixture(self, shares: int) -> None:
        """Raises InputError where the shares don't fit the sources, or something else would give shares too."""
        parts = len(self.sources) + len(self.conversations)
        if shares != parts:
            raise InputError(
                f"stage {self.name}: its mixture has {shares} shares and there are {parts} sources and stages of "
                "conversations; give one share each"
            )
        if self.ratio or any(source.weight != 1 for source in self.sources):
            raise InputError(
                f"stage {self.name}: its mixture says what share each source has; drop ratio and the sources' weights"
            )

    def _dropped(self, tally: PackingCounts) -> Iterator[str]:
        if tally.dropped:
            yield (
                f"{tally.dropped} of {tally.documents} conversations are longer than a row of {self.length} tokens and "
                "were left out"
            )

    def _dry(self, mixed: MixtureTally, sources: Sequence[DocumentSource]) -> Iterator[str]:
        """What there is to say of a mixture that had to be longer than its sources can give in their shares."""
        if self.mixture is None or not self.mixture.tokens:
            return
        wanted, given = sum(self.mixture.shares), sum(mixed.tokens)
        for place, tokens in mixed.dry.items():
            source = sources[place]
            words = source.reads()[0] if isinstance(source, ReadsFiles) and source.reads() else type(source).__name__
            yield (
                f"source {place} of the mixture ({words}) ran dry after {tokens:,} of {self.mixture.tokens:,} tokens, "
                f"so its share is {mixed.tokens[place] / given:.3g}, not {self.mixture.shares[place] / wanted:.3g}; "
                "allow it more epochs, or ask for fewer tokens"
            )
