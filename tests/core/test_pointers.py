import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import read_file
from reasoning.core.pointers import refuse_pointer, refuse_pointer_text
from reasoning.data.lines import open_lines
from reasoning.data.sources import Jsonl, Parquet, TextFolder
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.models.formats.gguf_header import check_header
from reasoning.models.formats.safetensors import read_header
from reasoning.tasks.question_files import QuestionFile

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "a" + "\nsize 12345\n"


def chatless(source):
    return source.documents(None, 0)[0]


READERS = {
    "file": read_file,
    "any": refuse_pointer,
    "lines": open_lines,
    "model.safetensors": read_header,
    "model.gguf": check_header,
    "data.jsonl": lambda path: chatless(Jsonl(str(path))),
    "data.parquet": lambda path: chatless(Parquet(str(path))),
    "text.txt": lambda path: chatless(TextFolder(str(path.parent))),
    "tokenizer.json": lambda path: load_tokenizer(path.parent),
    "tokenizer.model": lambda path: load_tokenizer(path.parent),
    "questions.jsonl": lambda path: QuestionFile(path=str(path)).problems("train", 1, 0),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_a_pointer_of_git_lfs_as_such(tmp_path, name):
    path = tmp_path / name
    path.write_text(POINTER)
    with pytest.raises(InputError, match=f"{name} is only a pointer of Git LFS to the file; fetch .* 'git lfs pull'"):
        READERS[name](path)


def test_other_contents_pass(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(f"what follows is a pointer:\n{POINTER}")
    refuse_pointer(path)
    refuse_pointer_text(path, path.read_bytes())
