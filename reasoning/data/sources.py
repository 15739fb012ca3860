"""Where documents come from: generators, files, TFDS datasets; and how several sources become one stream.

A source is a record of settings with ``weight`` and ``documents(chat, seed) -> Documents``. Every error names the file
and the line or row. ``weave`` says what weights mean.
"""

import glob
import os
from bisect import bisect_right
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow.parquet as pq
import tensorflow_datasets as tfds

from reasoning.core.addresses import fetched
from reasoning.core.contents import matches
from reasoning.core.errors import InputError, of_a_row, refusing
from reasoning.core.files import read_file
from reasoning.core.pointers import refuse_pointer
from reasoning.core.ranges import Positive, Range
from reasoning.data.chat.format import ChatFormat
from reasoning.data.columns import find_layout, read_columns
from reasoning.data.documents import Document, Documents
from reasoning.data.file_kinds import check_file
from reasoning.data.forward import Forward
from reasoning.data.lines import open_lines
from reasoning.data.records import ROWS_A_BLOCK, ROWS_A_BYTE, Records, open_folder, open_split
from reasoning.data.selection import Found, Selection, columns_read, selected


@runtime_checkable
class DocumentSource(Protocol):
    """Anything that gives documents; ``weight`` is how often each of them is seen in one pass over a mix."""

    @property
    def weight(self) -> float: ...

    def documents(self, chat: ChatFormat, seed: int) -> Documents:
        """All documents, in a fixed order. Raises InputError where there are none or the data can't be read.

        A document that can't be made of its row raises BadRow when it is asked for.
        """
        ...


@dataclass(frozen=True)
class Generated:
    """Documents that a function writes: ``write(seed, index, chat)``, which depends on its arguments alone."""

    write: Callable[[int, int, ChatFormat], Document]
    count: Annotated[int, Range(minimum=1, maximum=2**26)]
    weight: Positive = 1.0

    def documents(self, chat: ChatFormat, seed: int) -> Documents:
        """``count`` documents, written when they are asked for."""
        return Documents(self.count, lambda index: self.write(seed, index, chat))


@dataclass(frozen=True)
class Jsonl(Selection):
    """JSON objects, one a line, in one file or in all that a glob pattern names (in sorted order).

    Files whose names end in ``.gz`` or ``.zst`` are decompressed as they are read. ``columns`` names one column (a text
    or a list of messages) or two (prompt, completion); left empty, they are found by name: ``text``, ``messages``,
    ``conversations``, ``prompt`` + ``completion`` or ``answer``, ``question`` + ``answer``. Blank lines and a byte
    order mark are passed over. Refused, with file:line: NaN, numbers too large for a float, repeated keys, NUL, half
    surrogate pairs, lines of more than 16 MiB, anything but objects.
    """

    path: str
    columns: tuple[str, ...] = ()
    weight: Positive = 1.0

    def reads(self) -> tuple[str, ...]:
        """The path, whose content counts (``core.contents``)."""
        return (self.path,)

    def documents(self, chat: ChatFormat, seed: int) -> Documents:
        """One document a line, parsed when it is asked for."""
        del seed  # nothing is drawn
        files = [open_lines(path) for path in find_files(self.path)]
        ends = np.cumsum([len(lines) for lines in files])

        def read(index: int) -> Found:
            number = int(np.searchsorted(ends, index, side="right"))
            lines = files[number]
            line = index - int(ends[number]) + len(lines)
            where, row = f"{lines.path}:{lines.number(line)}", lines.record(line)
            with of_a_row():
                return Found(row, find_layout(row, self.columns, where), where)

        return selected(self, int(ends[-1]), read, chat, self.path)


@dataclass(frozen=True)
class Parquet(Selection):
    """Rows of one Parquet file, or of all that a glob pattern names (in sorted order); columns as for ``Jsonl``.

    Only the columns that are needed are read, a few rows at a time; reading in order is fast.
    """

    path: str
    columns: tuple[str, ...] = ()
    weight: Positive = 1.0

    def reads(self) -> tuple[str, ...]:
        """The path, whose content counts (``core.contents``)."""
        return (self.path,)

    def documents(self, chat: ChatFormat, seed: int) -> Documents:
        """One document a row, read by row groups."""
        del seed  # nothing is drawn
        files = [(path, _open_parquet(path)) for path in find_files(self.path)]
        present = [_columns_of(path, file) for path, file in files]
        layouts = [find_layout(names, self.columns, str(path)) for (path, _), names in zip(files, present, strict=True)]
        groups = [
            (number, group, count) for number, (path, file) in enumerate(files) for group, count in _groups(path, file)
        ]
        starts = [0, *np.cumsum([rows for _, _, rows in groups]).tolist()]

        @lru_cache(maxsize=1)
        def group_rows(position: int) -> Forward[dict[str, Any]]:
            number, group, count = groups[position]
            path, file = files[number]
            columns = columns_read(self, read_columns(layouts[number], present[number]))
            return Forward(lambda: _rows_of_group(path, file, group, count, columns))

        def read(index: int) -> Found:
            position = bisect_right(starts, index) - 1
            number = groups[position][0]
            where = f"{files[number][0]}, row {index} of the source"
            return Found(group_rows(position)(index - starts[position]), layouts[number], where)

        return selected(self, starts[-1], read, chat, self.path)


@dataclass(frozen=True)
class TextFolder(Selection):
    """Text files, one document each, sorted by name: the ``*.txt`` of a folder, or all that a pattern with * names.

    A row's columns are ``text``, without a byte order mark, and ``path``.
    """

    path: str
    weight: Positive = 1.0

    def reads(self) -> tuple[str, ...]:
        """The texts alone: beside them may lie what changes during a run."""
        return (self.path if self._is_pattern() else f"{glob.escape(self.path)}/*.txt",)

    def documents(self, chat: ChatFormat, seed: int) -> Documents:
        """One document a file, read when it is asked for."""
        del seed  # nothing is drawn
        if self._is_pattern():
            paths = find_files(self.path)
        elif Path(fetched(self.path)).is_dir():
            paths = sorted(Path(fetched(self.path)).glob("*.txt"))
        else:
            raise InputError(f"there is no folder {self.path}")

        def read(index: int) -> Found:
            where = str(paths[index])
            with of_a_row():
                return Found({"text": _text_of(paths[index]), "path": where}, ("text",), where)

        return selected(self, len(paths), read, chat, self.path if self._is_pattern() else f"{self.path}/*.txt")

    def _is_pattern(self) -> bool:
        return "*" in self.path and not Path(self.path).is_dir()


@dataclass(frozen=True)
class Tfds(Selection):
    """A TFDS dataset, without TensorFlow: ``builder`` is a prepared folder, or a name that TFDS knows.

    A named dataset is looked up in ``data_dir`` (TFDS's own default when empty) and downloaded if need be; its data
    must be, or becomes, ArrayRecord. ``split`` may be a slice, ``train[:10%]``; ``columns`` as for ``Jsonl``.
    """

    builder: str
    split: str = "train"
    data_dir: str = ""
    columns: tuple[str, ...] = ()
    weight: Positive = 1.0

    def reads(self) -> tuple[str, ...]:
        """The folder, whose content counts; a named data set counts by its name."""
        return (self.builder,) if Path(fetched(self.builder)).is_dir() else ()

    def documents(self, chat: ChatFormat, seed: int) -> Documents:
        """One document an example, read when it is asked for."""
        del seed  # nothing is drawn
        where = f"{self.builder} ({self.split})"
        records = open_tfds(self.builder, self.split, self.data_dir, where)
        layout = find_layout(records[0], self.columns, where) if len(records) else ()

        def read(index: int) -> Found:
            return Found(records[index], layout, f"{where}, example {index}")

        return selected(self, len(records), read, chat, where)


def open_tfds(builder: str, split: str, data_dir: str, where: str) -> Records:
    """One split of a TFDS data set, ``builder`` being a prepared folder or a name that TFDS knows (see ``Tfds``).

    Raises InputError, beginning with ``where``, where it can't be opened or prepared.
    """
    if Path(fetched(builder)).is_dir():
        return open_folder(Path(fetched(builder)), split)
    try:
        named = tfds.builder(builder, data_dir=data_dir or None, file_format="array_record")
        named.download_and_prepare()
    except (ValueError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{where}: {reason}; give a folder with a prepared dataset, or a name of TFDS") from None
    except ImportError as error:
        raise InputError(f"{where}: to prepare it, TFDS needs the package {error.name}; install that") from None
    return open_split(named, split)


def find_files(pattern: str) -> list[Path]:
    """The files that a path or a glob pattern (``**`` too) names, sorted. Raises InputError where there is none."""
    pattern = fetched(pattern)
    if os.path.exists(pattern):
        check_file(Path(pattern))
        return [Path(pattern)]
    paths = [Path(name) for name in sorted(matches(pattern)) if Path(name).is_file()]
    if not paths:
        raise InputError(f"no file matches {pattern}; give the path of a file, or a pattern such as data/*.jsonl")
    return paths


def _text_of(path: Path) -> str:
    try:
        return read_file(path).removeprefix(BOM_UTF8).decode()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, text: not UTF-8 text (byte {error.start})") from None


def _open_parquet(path: Path) -> pq.ParquetFile:
    with _readable(path):
        refuse_pointer(path)
        return pq.ParquetFile(path)


def _readable(path: Path) -> AbstractContextManager[None]:
    return refusing(f"{path} is no readable Parquet file", "fetch it again")


def _columns_of(path: Path, file: pq.ParquetFile) -> list[str]:
    with _readable(path):
        return file.schema_arrow.names


def _groups(path: Path, file: pq.ParquetFile) -> list[tuple[int, int]]:
    """The row groups and how many rows each has. Raises InputError for more than a file of its size can hold."""
    with _readable(path):
        counts = [(group, file.metadata.row_group(group).num_rows) for group in range(file.num_row_groups)]
    most = ROWS_A_BYTE * path.stat().st_size
    if any(not 0 <= count <= most for _, count in counts) or sum(count for _, count in counts) > most:
        raise InputError(f"{path} claims {sum(count for _, count in counts):,} rows, too many for it; fetch it again")
    return counts


def _rows_of_group(
    path: Path, file: pq.ParquetFile, group: int, count: int, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    read = 0
    with _readable(path):
        for batch in file.iter_batches(ROWS_A_BLOCK, [group], list(columns)):
            yield from batch.to_pylist()
            read += len(batch)
    if read != count:
        raise InputError(f"{path}: row group {group} has {read} rows, not {count}; fetch the file again")


class Interleaved:
    """Which source, and which of its documents, stands at each place of a mix."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float]):
        """Plan a mix of sources with these sizes; see ``weave`` for what weights mean."""
        counts = [max(1, round(size * weight)) for size, weight in zip(sizes, weights, strict=True)]
        # Even spacing: the k-th of n documents of a source stands at (k + 1/2) / n of the way; ties by source.
        places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
        order = np.argsort(places, kind="stable")
        self.sources = np.repeat(np.arange(len(sizes)), counts)[order]
        self.documents = np.concatenate([_picks(*pair) for pair in zip(sizes, counts, strict=True)])[order]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return int(self.sources[index]), int(self.documents[index])


def _picks(size: int, count: int) -> np.ndarray:
    """Numbers of the documents that a source of ``size`` gives for ``count`` places: whole passes, or evenly spread."""
    return np.arange(count) % size if count >= size else np.arange(count) * size // count


def open_sources(sources: Sequence[DocumentSource], chat: ChatFormat, seed: int) -> list[Documents]:
    """The documents of each source. Raises InputError for no sources or bad weights, and as the sources do."""
    if not sources:
        raise InputError("there are no sources to mix; give at least one")
    for source in sources:
        if not 0 < source.weight < np.inf:
            raise InputError(f"a weight must be above 0 and finite, got {source.weight} for {source!r:.100}")
    return [source.documents(chat, seed) for source in sources]


def mix(sources: Sequence[DocumentSource], chat: ChatFormat, seed: int) -> Documents:
    """Make one stream of several sources, as ``weave``. Raises InputError as ``open_sources`` does."""
    return weave(open_sources(sources, chat, seed), [source.weight for source in sources])


def weave(parts: Sequence[Documents], weights: Sequence[float]) -> Documents:
    """Make one stream of several, spread evenly, so that any stretch of it has the shares of the whole.

    A part's weight is how often each of its documents occurs: 1 once, 2 twice, 0.5 every second document only. The
    share of a part is therefore its weight × its size over the sum of these products, exact to one document; nothing
    is drawn at random and nothing is left out at weight 1. For shares of tokens see ``data.mixture``.
    """
    plan = Interleaved([len(part) for part in parts], weights)

    # Not grain's own selection: what it counts of each element takes as long as writing a short document.
    def make(index: int) -> Document:
        source, number = plan[index]
        return parts[source][number]

    return Documents(len(plan), make)
