"""Object stores, ``s3://`` and ``gs://``: an object is whole or absent, nothing is renamed, any call may fail.

Reached through pyarrow, which takes credentials, region and another endpoint from where the makers' own tools do
(``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``; Google's application default credentials).
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reasoning.core.errors import InputError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_SCHEMES = ("s3://", "gs://")

_WAITS = (0.2, 1.0, 5.0, 15.0)
"""Seconds before a call is tried again; together with the library's own tries, about a minute."""

_GOOGLES_TRIES = 3
"""Seconds for which Google's library tries a call again by itself; it would for a quarter of an hour."""

_PIECE = 8 << 20
_FOR_GOOD = (
    *("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE", "not found"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_FOUND"),
)

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class ObjectStore:
    """The objects below one address, each called by its name from there.

    Calls that fail are tried again for a while; then they raise InputError with the library's words.
    """

    url: str
    filesystem: "FileSystem"
    root: str
    waits: tuple[float, ...] = field(default=_WAITS, repr=False)

    def read(self, name: str) -> bytes | None:
        """The content of a small object; None where there is none."""

        def read() -> bytes:
            with self.filesystem.open_input_stream(self._path(name)) as stream:
                return stream.read()

        return self._again(name, lambda: self._unless_absent(name, read))

    def write(self, name: str, content: bytes) -> None:
        """Puts a small object in one piece: who reads it finds the earlier content or this."""

        def write() -> None:
            with self.filesystem.open_output_stream(self._path(name)) as stream:
                stream.write(content)

        self._again(name, write)

    def upload(self, name: str, file: Path, size: int) -> str:
        """Puts the first ``size`` bytes of a file; their SHA-256 in hex. InputError where it has fewer by now."""

        def upload() -> str:
            digest, left = hashlib.sha256(), size
            with open(file, "rb") as source, self.filesystem.open_output_stream(self._path(name)) as stream:
                while left and (piece := source.read(min(_PIECE, left))):
                    digest.update(piece)
                    stream.write(piece)
                    left -= len(piece)
            if left:
                raise InputError(f"{file} has lost its last {left} bytes while it was copied to {self.url}")
            return digest.hexdigest()

        return self._again(name, upload)

    def download(self, name: str, file: Path) -> str | None:
        """Writes an object's content into a file; its SHA-256 in hex, or None where there is no such object."""

        def download() -> str:
            digest = hashlib.sha256()
            with self.filesystem.open_input_stream(self._path(name)) as stream, open(file, "wb") as target:
                while piece := stream.read(_PIECE):
                    digest.update(piece)
                    target.write(piece)
            return digest.hexdigest()

        return self._again(name, lambda: self._unless_absent(name, download))

    def changed(self, under: str) -> dict[str, datetime]:
        """When each object below a folder was last put, by the store's own clock."""
        from pyarrow.fs import FileSelector, FileType

        chosen = FileSelector(self._path(under), recursive=True, allow_not_found=True)
        found = self._again(under, lambda: self.filesystem.get_file_info(chosen))
        return {info.path.removeprefix(f"{self.root}/"): info.mtime for info in found if info.type == FileType.File}

    def objects(self) -> dict[str, tuple[int, str]]:
        """Size and time of change of what lies at the address: of one object, called "", or of all below a folder."""
        from pyarrow.fs import FileSelector, FileType

        def look() -> dict[str, tuple[int, str]]:
            [own] = self.filesystem.get_file_info([self.root])
            if own.type == FileType.File:
                return {"": (own.size, str(own.mtime))}
            chosen = FileSelector(self.root, recursive=True, allow_not_found=True)
            below = (info for info in self.filesystem.get_file_info(chosen) if info.type == FileType.File)
            return {info.path.removeprefix(f"{self.root}/"): (info.size, str(info.mtime)) for info in below}

        return dict(sorted(self._again("what lies there", look).items()))

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""

        self._again(name, lambda: self._unless_absent(name, lambda: self.filesystem.delete_file(self._path(name))))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _unless_absent(self, name: str, call: Callable[[], _Found]) -> _Found | None:
        """None where the call failed and there is no such object: not at first, or since the call's first request.

        A call is several requests. Of an object that is removed between them the library says what it says of a bucket
        that was never there.
        """
        from pyarrow.fs import FileType

        try:
            return call()
        except FileNotFoundError:
            return None
        except OSError:
            [info] = self.filesystem.get_file_info([self._path(name)])
            if info.type == FileType.NotFound:
                return None
            raise

    def _again(self, name: str, call: Callable[[], _Found]) -> _Found:
        from pyarrow import ArrowException

        for wait in (*self.waits, None):
            try:
                return call()
            except (OSError, ArrowException) as error:  # An upload that a store takes for ill-formed is no OSError.
                told = str(error).split("\n", 1)[0].split(" error_info=", 1)[0]
                if wait is None or any(each in told for each in _FOR_GOOD):
                    raise InputError(
                        f"{self.url}: {name}: {told}; check the address, the rights there and the network, and run the "
                        "same command again"
                    ) from None
                time.sleep(wait)
        raise AssertionError("the last try returns or raises")


def is_address(path: str) -> bool:
    """Whether a text names something in an object store."""
    return path.startswith(_SCHEMES)


def open_store(url: str) -> ObjectStore:
    """The store at an address such as ``s3://BUCKET/FOLDER``. Raises InputError where there can't be one."""
    from pyarrow.fs import FileSystem

    if not is_address(url):
        raise InputError(f"{url} is no object store; write s3://BUCKET/FOLDER or gs://BUCKET/FOLDER")
    try:
        limited = url if url.startswith("s3:") else f"{url}?retry_limit_seconds={_GOOGLES_TRIES}"
        filesystem, root = FileSystem.from_uri(limited)
    except (OSError, ValueError) as error:
        raise InputError(f"{url} can't be opened: {str(error).split(chr(10), 1)[0]}; check the address") from None
    if "/" not in root.strip("/"):
        raise InputError(f"{url} names a bucket alone; add a folder of its own for this run: {url.rstrip('/')}/RUN")
    return ObjectStore(url.rstrip("/"), filesystem, root.rstrip("/"))
