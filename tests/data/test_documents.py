import pytest

from reasoning.data.documents import Document, Documents, Piece, every_reply, last_reply, merged, weighed


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


def test_neighbours_that_are_only_read_become_one_piece():
    pieces = [("a", False), ("", True), ("b", False), ("c", True), ("d", True), ("", False), ("e", False)]
    found = merged(Piece(text, learn) for text, learn in pieces)
    assert [(piece.text, piece.learn) for piece in found] == [("ab", False), ("c", True), ("d", True), ("e", False)]


def test_the_last_reply_alone_is_learnt_of_a_conversation_and_all_of_a_text():
    pieces = [("u", False), ("one.", True), ("v", False), ("two.", True), ("\n", False)]
    talk = Document(tuple(Piece(text, learn) for text, learn in pieces))
    assert [(piece.text, piece.learn) for piece in last_reply(talk).pieces] == [
        ("uone.v", False),
        ("two.", True),
        ("\n", False),
    ]
    assert every_reply(talk) == talk and last_reply(last_reply(talk)) == last_reply(talk)
    text = Document((Piece("abc", learn=True),))
    assert last_reply(text) == text


def test_what_is_learnt_of_a_document_weighs_a_share_of_what_it_did():
    talk = Document((Piece("u", learn=False), Piece("a", learn=True, weight=0.5), Piece("b", learn=True)), (("k", 1),))
    found = weighed(talk, 0.25)
    assert [(piece.learn, piece.weight) for piece in found.pieces] == [(False, 1.0), (True, 0.125), (True, 0.25)]
    assert found.columns == talk.columns and weighed(talk, 1.0) is talk
