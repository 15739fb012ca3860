"""Datasets on disk as TFDS with ArrayRecord files, written and read without TensorFlow; any TFDS user can open them."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from reasoning.core.errors import InputError, refusing
from reasoning.core.files import PARTIAL_SUFFIX, read_json, sync
from reasoning.core.folders import check_free, folder_in_making

_SPLIT = "train"
"""The one split that a dataset of ours has."""

_INFO, _FEATURES = "dataset_info.json", "features.json"
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type", "protoCls", "proto_cls")
_OWN_CLASSES = "tensorflow_datasets."
"""In ``features.json``: where classes are named, which TFDS imports, and where its own lie."""

_NAME = "records"
_VERSION = "1.0.0"
_ROWS_A_SHARD = 1 << 20
ROWS_A_BLOCK = 1024
"""Rows read by one call: few enough to hold, many enough that the call's own cost vanishes."""

ROWS_A_BYTE = 1000
"""How many rows a byte of a file may stand for: equal ones may be written once, but rows that are read differ."""

Row = dict[str, Any]


class RandomAccessRows(Protocol):
    """Rows by number, as lists and grain's sources give them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Row: ...


@dataclass(frozen=True)
class Records:
    """One split of a dataset on disk: rows by number, read and decoded when they are asked for; text comes as bytes.

    Suits ``grain.MapDataset.source``. Reading raises InputError where files are damaged: ArrayRecord has checksums.
    """

    folder: Path
    source: Any

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Row:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        with refusing(f"{self.folder} is damaged, rows can't be read", "write it again"):
            rows = self.source.__getitems__(list(indices))
        # ArrayRecord takes a file cut at a multiple of 64 KiB for an empty one, and TFDS makes rows of None of it.
        if any(all(value is None for value in row.values()) for row in rows):
            raise InputError(f"{self.folder} is damaged, rows are missing from its files; write it again")
        return rows


def write_records(folder: Path, rows: Iterable[Mapping[str, Any]], features: Mapping[str, Any]) -> int:
    """Write rows as one TFDS dataset and give their number; the folder appears whole, or not at all.

    ``features`` maps each column to its TFDS feature (``tfds.features.Tensor``, ``Text``, …). Rows keep their order,
    and equal rows give equal bytes. Raises InputError where the folder exists, where there are no rows, or where a row
    doesn't fit the features (with its number, from 0).
    """
    check_free(folder)
    columns = tfds.features.FeaturesDict(dict(features))
    remaining = _serialize(rows, columns)
    shards: list[tuple[int, int]] = []  # rows and bytes of each file
    with folder_in_making(folder) as partial:
        partial.mkdir(parents=True)
        template = _template(partial)
        for first in remaining:
            file = template.sharded_filepath(shard_index=len(shards), num_shards=None)
            shards.append(_write_shard(str(file), chain((first,), islice(remaining, _ROWS_A_SHARD - 1))))
        if not shards:
            raise InputError(f"there are no rows to write to {folder}; the source of the rows is empty")
        _describe(partial, columns, shards, template)
    return sum(count for count, _ in shards)


def write_part(file: Path, rows: Iterable[Mapping[str, Any]], features: Mapping[str, Any]) -> tuple[int, int]:
    """Write one file of a dataset that ``join_parts`` makes later; it appears whole, or not at all.

    Gives the number of rows and of their bytes. Errors as ``write_records``.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    try:
        written = _write_shard(str(partial), _serialize(rows, tfds.features.FeaturesDict(dict(features))))
        sync(partial)
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(file.parent)
    return written


def join_parts(folder: Path, parts: Sequence[tuple[Path, int, int]], features: Mapping[str, Any]) -> None:
    """Make one dataset of files that ``write_part`` wrote, in this order, each with its rows and bytes.

    The files stay where they are (the dataset has links to them, or copies), so that this can be done again. Errors as
    ``write_records``.
    """
    check_free(folder)
    filled = [part for part in parts if part[1]]
    if not filled:
        raise InputError(f"there are no rows to write to {folder}; the source of the rows is empty")
    with folder_in_making(folder) as partial:
        partial.mkdir(parents=True)
        template = _template(partial)
        for number, (file, _, _) in enumerate(filled):
            name = str(template.sharded_filepath(shard_index=number, num_shards=None))
            try:
                os.link(file, name)
            except OSError:  # a file system without links
                shutil.copyfile(file, name)
        shards = [(rows, size) for _, rows, size in filled]
        _describe(partial, tfds.features.FeaturesDict(dict(features)), shards, template)


def _template(folder: Path) -> tfds.core.ShardedFileTemplate:
    """How the files of a dataset are called."""
    return tfds.core.ShardedFileTemplate(
        dataset_name=_NAME,
        data_dir=tfds.core.Path(folder),
        split=_SPLIT,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
    )


def _serialize(rows: Iterable[Mapping[str, Any]], columns: tfds.features.FeaturesDict) -> Iterator[bytes]:
    """Each row as the bytes of a ``tf.train.Example``.

    By default protobuf writes the columns in an order that differs from one process to the next, and so does every
    writer of TFDS, so the bytes are made here.
    """
    serializer = tfds.core.ExampleSerializer(cast(Any, columns.get_serialized_info()))
    for number, row in enumerate(rows):
        if row.keys() != columns.keys():
            raise InputError(f"row {number} has columns {sorted(row)}; the features are {sorted(columns.keys())}")
        try:
            example = serializer.get_tf_example(columns.encode_example(row))
        except (ValueError, TypeError) as error:
            reason = " ".join(str(error).splitlines()[:2])
            raise InputError(f"row {number} does not fit its features: {reason}") from None
        yield example.SerializeToString(deterministic=True)


def _write_shard(file: str, serialized: Iterable[bytes]) -> tuple[int, int]:
    """Writes one file and gives its number of rows and their bytes. Raises InputError where the disk takes no more."""
    count, size = 0, 0
    writer = ArrayRecordWriter(file, "group_size:1")  # As TFDS writes: any row can be read without its neighbours.
    try:
        try:
            for row in serialized:
                writer.write(row)
                count, size = count + 1, size + len(row)
        finally:
            writer.close()
    except RuntimeError as error:
        raise InputError(f"rows can't be written: {error}; free space and run the same command again") from None
    return count, size


def _describe(
    folder: Path,
    columns: tfds.features.FeaturesDict,
    shards: list[tuple[int, int]],
    template: tfds.core.ShardedFileTemplate,
) -> None:
    """Writes the files by which TFDS knows a dataset: its features, its split and the rows of each shard."""
    identity = tfds.core.DatasetIdentity(
        name=_NAME, version=tfds.core.Version(_VERSION), data_dir=str(folder), module_name=""
    )
    info = tfds.core.DatasetInfo(builder=identity, features=columns)
    info.set_file_format("array_record")
    split = tfds.core.SplitInfo(
        name=_SPLIT,
        shard_lengths=[count for count, _ in shards],
        num_bytes=sum(size for _, size in shards),
        filename_template=template,
    )
    info.set_splits(tfds.core.SplitDict([split]))
    info.write_to_directory(folder)


def read_records(folder: Path) -> Records:
    """Open a dataset that ``write_records`` has written.

    Raises InputError where the folder is missing or is no such dataset, or where files are missing or cut short.
    """
    return open_folder(folder, _SPLIT)


def open_folder(folder: Path, split: str) -> Records:
    """Open one split (or a slice, ``train[:10%]``) of a folder that any TFDS builder has prepared as ArrayRecord.

    Raises InputError as ``read_records`` does, and where there is no such split.
    """
    unreadable = f"{folder} holds no readable TFDS dataset"
    with refusing(unreadable, "give a prepared one"):
        try:
            _check_description(folder)
        except InputError as error:
            raise InputError(f"{unreadable}: {error}") from None
        builder = tfds.builder_from_directory(folder)
    return open_split(builder, split)


def _check_description(folder: Path) -> None:
    """Raises InputError for files by which TFDS would import other people's code, or set out to read without end."""
    rows = 0
    for split in _table(read_json(folder / _INFO)).get("splits", []):
        rows += sum(int(length) for length in _table(split).get("shardLengths", []))
    held = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if rows > ROWS_A_BYTE * held:
        raise InputError(f"{folder / _INFO} claims {rows:,} rows in files of {held:,} bytes; write it again")
    waiting: list[Any] = [read_json(folder / _FEATURES)] if (folder / _FEATURES).exists() else []
    while waiting:
        value = waiting.pop()
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if name in _CLASS_KEYS and isinstance(inner, str) and "." in inner and not inner.startswith(_OWN_CLASSES):
                raise InputError(f"{folder / _FEATURES} names {inner!r:.60}, a class outside TFDS; it isn't imported")
            waiting += [inner] if isinstance(inner, dict | list) else []


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{_INFO} has {value!r:.40} where a table is expected")
    return value


def open_split(builder: tfds.core.DatasetBuilder, split: str) -> Records:
    """Open one split of a builder whose data is prepared. Raises InputError as ``open_folder`` does."""
    folder = Path(builder.data_dir)
    # TFDS wraps this method in a way that hides its parameters from type checkers.
    as_data_source = cast(Callable[..., Any], builder.as_data_source)
    known = ", ".join(sorted(builder.info.splits)) or "none"
    with refusing(f"{folder}: can't open split {split!r} (there are: {known})", "name one that is there"):
        records = Records(folder, as_data_source(split=split))
    if len(records):
        records[len(records) - 1]  # files that are missing or cut short show now, not hours later
    return records


def keep_rows(source: RandomAccessRows, limit: int) -> RandomAccessRows:
    """Decode a small dataset once, because decoding a row costs ten times more than finding it in memory.

    A source of numeric rows whose arrays take ``limit`` bytes or fewer comes back as a list of the same rows; a larger
    one comes back unchanged.
    """
    if not len(source) or len(source) * sum(np.asarray(value).nbytes for value in source[0].values()) > limit:
        return source
    starts = range(0, len(source), ROWS_A_BLOCK)
    return [row for start in starts for row in take_rows(source, range(len(source))[start : start + ROWS_A_BLOCK])]


def take_rows(source: RandomAccessRows, indices: Sequence[int]) -> list[Row]:
    """The rows with these numbers, read in one call where the source offers it (``__getitems__``)."""
    many = getattr(source, "__getitems__", None)
    return many(indices) if many else [source[index] for index in indices]
