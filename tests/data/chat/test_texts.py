from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.texts import ChatTexts

TEXTS = ChatTexts()


def test_symbols_are_the_structure_and_the_tags_without_repetition():
    assert TEXTS.symbols() == (*TEXTS.structure(), *TEXTS.tags())
    assert len(set(TEXTS.symbols())) == 9
    assert ChatFormat().symbols() == TEXTS.symbols()


def test_empty_texts_are_no_symbols_and_other_ends_belong_to_the_structure():
    texts = ChatTexts(begin="", system="<s>\n", user="<u>\n", other_ends=("<s>", "#"), answer_open="", answer_close="")
    assert texts.structure() == ("<s>", "<u>", "<|assistant|>", "<|end|>", "#")
    assert texts.symbols() == (*texts.structure(), "<think>", "</think>")


def test_single_ids_are_the_marks_where_there_are_some_else_all_symbols():
    assert TEXTS.single_ids() == TEXTS.symbols()
    assert ChatTexts(marks=("<|end|>",)).single_ids() == ("<|end|>",)
