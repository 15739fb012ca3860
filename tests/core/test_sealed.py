"""Records and texts that carry their own hash."""

import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import write_json
from reasoning.core.sealed import check_sealed_text, read_sealed, sealed_text, write_sealed

RECORD = {"stages": [{"stage": "base", "finished": False}]}


def test_no_bit_of_a_record_can_change_without_being_told(tmp_path):
    file = tmp_path / "run.json"
    write_sealed(file, RECORD)
    assert read_sealed(file) == RECORD
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            # White space says nothing, and a record whose seal has lost its name is one of an unknown kind.
            assert read_sealed(file) == RECORD or set(read_sealed(file)) - {"sha256"} != set(RECORD)
        except InputError as error:
            assert "run.json" in str(error)


def test_a_record_without_a_seal_is_read_as_it_is(tmp_path):
    write_json(tmp_path / "old.json", RECORD)
    assert read_sealed(tmp_path / "old.json") == RECORD


@pytest.mark.parametrize("at", [0, 30, 100, -1])
def test_a_text_that_has_changed_or_lost_its_end_is_told(tmp_path, at):
    file = tmp_path / "resolved.gin"
    file.write_text(sealed_text("rate = 0.1\nwidth = 3\n"))
    check_sealed_text(file)
    whole = file.read_bytes()
    if at:
        file.write_bytes(whole[:at])
        with pytest.raises(InputError, match=r"resolved\.gin is not as it was written"):
            check_sealed_text(file)
    file.write_bytes(whole.replace(b"0.1", b"0.3"))
    with pytest.raises(InputError, match=r"resolved\.gin is not as it was written"):
        check_sealed_text(file)
    file.write_bytes(whole.replace(b"# SHA", b"# SHB"))
    with pytest.raises(InputError, match=r"resolved\.gin is not as it was written"):
        check_sealed_text(file, "rate = 0.1\nwidth = 3\n")
    file.write_text("rate = 0.3\n")
    check_sealed_text(file, "rate = 0.1\n")
