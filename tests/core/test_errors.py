import errno

import pytest

from reasoning.core.errors import BadRow, InputError, of_a_row, refusing, remedy, without_notes


def test_bad_input_passes_without_what_others_have_added_to_it():
    error = InputError("a.jsonl:3: not JSON; mend the line")
    error.add_note("For simplicity, a library has removed its frames.")
    with pytest.raises(InputError) as passed, without_notes():
        raise error
    assert str(passed.value) == str(error) and not hasattr(passed.value, "__notes__")


def test_other_errors_pass_as_they_are():
    error = ValueError("a bug")
    error.add_note("with a note")
    with pytest.raises(ValueError, match="a bug") as passed, without_notes():
        raise error
    assert passed.value is error


def test_a_message_keeps_its_lines_and_abridges_what_is_long_in_them():
    assert str(InputError("a\nb")) == "a\nb"
    first, second = str(InputError("x" * 10**6 + "\nadvice")).split("\n")
    assert len(first) < 1100 and second == "advice"


def test_what_a_library_raises_about_a_file_is_one_line_and_what_we_raise_stays():
    for error in (ValueError("bad\nmore"), KeyError("x"), RecursionError("bad")):
        with pytest.raises(InputError, match="a.bin is damaged: .*; fetch it again") as refused, reading():
            raise error
        assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="^ours$"), reading():
        raise InputError("ours")
    with pytest.raises(KeyboardInterrupt), reading():
        raise KeyboardInterrupt


def reading():
    return refusing("a.bin is damaged", "fetch it again")


def test_what_may_not_be_written_and_what_does_not_fit_have_different_remedies():
    assert [remedy(OSError(number, "")) for number in (errno.EACCES, errno.EROFS)] == 2 * [
        "give the right to write there"
    ]
    assert remedy(OSError(errno.ENOSPC, "")) == "free space"


def test_what_is_wrong_with_one_row_stays_told_apart_from_what_is_wrong_with_a_file():
    with pytest.raises(BadRow, match="a:1: odd"), without_notes(), of_a_row():
        raise InputError("a:1: odd")
    with pytest.raises(InputError) as caught, without_notes():
        raise InputError("a is gone")
    assert type(caught.value) is InputError
    with pytest.raises(ValueError, match="other"), of_a_row():
        raise ValueError("other")
