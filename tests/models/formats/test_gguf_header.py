"""Headers written here by hand that claim more than there is: refused at once, before the library sees them."""

import struct
import time

import pytest
from gguf_file import write

from reasoning.core.errors import InputError
from reasoning.models.formats.gguf_header import check_header

KEY = struct.pack("<Q", 1) + b"a"


def header(tensors=0, fields=1, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, fields)


def listed(kind, count):
    return header() + KEY + struct.pack("<IIQ", 9, kind, count)


def test_a_right_file_passes(tmp_path):
    write(tmp_path / "model.gguf")
    check_header(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no GGUF file"),
        (b"GGUF", "cut off or damaged: a value of 4 bytes"),
        (header(version=1), "version 1, where 2 and 3"),
        (header(version=3 << 24), "version 50,331,648"),  # the other order of bytes
        (header(tensors=2**62, fields=0), "4,611,686,018,427,387,904 tensors"),
        (header(fields=2**62), "a value of 8 bytes at byte 24 of 24"),
        (header() + struct.pack("<Q", 2**63), "a value of 9,223,372,036,854,775,808 bytes"),
        (header() + KEY + struct.pack("<I", 77), "unknown type 77"),
        (listed(4, 2**40), "lists of 1,099,511,627,776 entries"),
        (listed(4, 1000), "a value of 4,000 bytes"),
        (listed(8, 2**22), "a value of 8 bytes"),
        (listed(9, 1) + struct.pack("<IQ", 9, 1), "a list of the unknown type 9"),
        (header(1, 0) + KEY + struct.pack("<I", 2**31), "a tensor of 2,147,483,648 axes"),
        (header(1, 0) + KEY + struct.pack("<I", 2), "a value of 28 bytes"),
    ],
)
def test_what_claims_more_than_there_is_is_refused_at_once(tmp_path, content, match):
    (tmp_path / "a.gguf").write_bytes(content)
    began = time.process_time()  # the clock says what else the machine does
    with pytest.raises(InputError, match=match):
        check_header(tmp_path / "a.gguf")
    assert time.process_time() - began < 2


def test_folders_and_missing_files_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent.gguf"):
        with pytest.raises(InputError, match="could not read"):
            check_header(path)
