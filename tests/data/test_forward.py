import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.data.forward import Forward


@given(st.integers(1, 9), st.lists(st.integers(0, 8), max_size=12))
@settings(max_examples=60)
def test_items_are_those_of_a_list_in_whatever_order_they_are_asked_for(count, asked):
    read = Forward(lambda: iter([str(number) for number in range(count)]))
    for number in asked:
        if number < count:
            assert read(number) == str(number)
        else:
            with pytest.raises(IndexError):
                read(number)


def test_in_order_everything_is_read_once_and_going_back_begins_anew():
    begun: list[int] = []

    def begin():
        for number in range(5):
            begun.append(number)
            yield number

    read = Forward(begin)
    assert [read(number) for number in (0, 0, 1, 3)] == [0, 0, 1, 3] and begun == [0, 1, 2, 3]
    assert read(2) == 2 and begun == [0, 1, 2, 3, 0, 1, 2]
