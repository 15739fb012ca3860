"""Cleaning as a stage does it: once, by process 0, into files that all processes, and a later start, read."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from reasoning.core.files import read_file, read_json, write_atomic, write_json
from reasoning.core.mesh import wait_for_all
from reasoning.core.progress import Progress
from reasoning.data.chat.format import ChatFormat
from reasoning.data.cleaning import Cleaner, Removed, find_kept, open_cleaned, without_removed
from reasoning.data.sources import DocumentSource
from reasoning.stages.stage import Context

REMOVED = "removed.jsonl"
"""The first documents that each reason removed."""

COUNTS = "removed.json"
"""How many each reason removed; written last, so where it lies cleaning is done."""

_KEPT = "kept.npy"

_PEEKED = 20_000


def clean(
    sources: Sequence[DocumentSource],
    cleaners: Sequence[Cleaner],
    chat: ChatFormat,
    seed: int,
    out: Path,
    name: str,
    context: Context,
) -> tuple[tuple[DocumentSource, ...], Mapping[str, float]]:
    """The sources without what the cleaners remove, and how many documents of files they looked at and removed.

    Empty counts where no source reads files, or nothing is to be cleaned. What was removed is warned of and listed in
    ``out``. Every process calls this alike.
    """
    opened = open_cleaned(sources, chat, seed) if cleaners else []
    if not opened:
        return tuple(sources), {}
    if jax.process_index() == 0 and not (out / COUNTS).exists():

        def report(done: int, of: int) -> None:
            context.report(Progress(name, 0, 1, {"documents looked at": done, "of": of}))

        removed = Removed()
        kept = find_kept(opened, cleaners, out, removed, report)
        file = io.BytesIO()
        np.save(file, np.packbits(kept))
        write_atomic(out / _KEPT, file.getvalue())
        listed = (json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in removed.examples)
        write_atomic(out / REMOVED, "".join(listed))
        write_json(out / COUNTS, {"looked_at": removed.looked_at, "removed": removed.counts})
        if told := removed.told():
            context.warn(f"stage {name} {told}; {REMOVED} lists the first of each kind")
    wait_for_all(f"{name} has cleaned")
    told = read_json(out / COUNTS)
    bits = np.load(io.BytesIO(read_file(out / _KEPT)))
    kept = np.unpackbits(bits, count=told["looked_at"]).astype(bool)
    by_reason = {f"removed/{reason}": count for reason, count in told["removed"].items()}
    counts = {"looked_at": told["looked_at"], "removed": sum(by_reason.values()), **by_reason}
    return without_removed(sources, opened, kept), counts


def clean_beginning(
    sources: Sequence[DocumentSource], cleaners: Sequence[Cleaner], chat: ChatFormat, seed: int
) -> tuple[DocumentSource, ...]:
    """As ``clean`` without a folder, for whoever looks at the beginning: of each source the first 20,000 documents."""
    opened = open_cleaned(sources, chat, seed) if cleaners else []
    if not opened:
        return tuple(sources)
    with tempfile.TemporaryDirectory() as scratch:
        kept = find_kept(opened, cleaners, Path(scratch), Removed(), lambda done, of: None, _PEEKED)
    return without_removed(sources, opened, kept)
