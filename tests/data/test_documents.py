import pytest

from reasoning.data.documents import Document, Documents, Piece


def numbered(count):
    return Documents(count, lambda index: Document((Piece(f"text {index}", learn=True),)))


def test_the_text_of_a_document_is_its_pieces_joined():
    assert Document((Piece("a", learn=False), Piece("", learn=True), Piece("b", learn=True))).text() == "ab"


def test_documents_by_number_and_in_turn_are_the_same_and_can_be_read_again():
    documents = numbered(4)
    assert [documents[n] for n in range(len(documents))] == list(documents) == list(documents)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_number_outside_is_an_index_error(index):
    with pytest.raises(IndexError):
        numbered(4)[index]
