"""What lies at a path, told before it is read as something else."""

import os
import stat
from pathlib import Path

from reasoning.core.errors import InputError
from reasoning.core.pointers import refuse_pointer

_OTHER_KINDS = {
    b"\x1f\x8b": "compressed by gzip; unpack it (gunzip), or let its name end in .gz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it (unzstd), or let its name end in .zst",
    b"BZh": "compressed by bzip2; unpack it (bunzip2)",
    b"\xfd7zXZ": "compressed by xz; unpack it (unxz)",
    b"PK\x03\x04": "a zip archive; unpack it (unzip)",
    b"PAR1": "a Parquet file; read it as one",
    b"\xff\xfe": "text in UTF-16; write it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "text in UTF-16; write it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
}
"""What a file is that begins so, whatever it is called."""


def check_file(path: Path) -> None:
    """Raises InputError that says what lies at a path where it is no file that this process may read."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: NUL in a name
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder, and a file is needed; name one in it, or a pattern such as {path}/*")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is a pipe or a device, and a file is needed; check the path")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} can't be read: Permission denied")


def check_text_file(path: Path) -> None:
    """Raises InputError for a path where no text in UTF-8 can lie, by how the file begins; else as ``check_file``."""
    check_file(path)
    refuse_pointer(path)
    with open(path, "rb") as file:
        beginning = file.read(8)
    for start, what in _OTHER_KINDS.items():
        if beginning.startswith(start):
            raise InputError(f"{path} is no file of lines: it is {what}")
