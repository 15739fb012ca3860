"""What is too deep, too long or too much is refused in one line and at once, by whichever way it was reached."""

import os
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read_experiment

PART = "opt = @training.optimizers.AdamW\nopt.learning_rate = "


def doubling(levels: int, last: str) -> str:
    """Constants each of which reads the next one twice."""
    return "".join(f"c{level} = (%c{level + 1}, %c{level + 1})\n" for level in range(levels)) + f"c{levels} = {last}\n"


REFUSED = {
    "brackets": (PART + "(" * 900 + "1.0," + ")" * 900, "brackets nest more than 100 deep"),
    "a chain of constants": (
        PART + "%c0\n" + "".join(f"c{level} = %c{level + 1}\n" for level in range(3000)) + "c3000 = 1.0",
        "nest more than 100 deep here",
    ),
    "a ring of constants": (PART + "%a\na = %b\nb = %a", "constants need each other in a circle: a → b → a"),
    "constants that double": (PART + "%c0\n" + doubling(30, "1.0"), "more than 100,000 values"),
    "a long text read often": (PART + "%c0\n" + doubling(12, repr("x" * 10_000)), "more than 100,000 values"),
    "parts without end": (
        "p = @stages.GRPO\n" + "".join(f"p{number} = p\n" for number in range(5000)),
        "more than 100,000 values",
    ),
    "a whole number of thousands of digits": (PART + "9" * 3000, "is too large a number"),
    "a hexadecimal one": (PART + "0x" + "f" * 50_000, "is too large a number"),
    "a whole number of 64 bits": (
        "run = @pipeline.Run\nrun.stages = ()\nrun.keep = 9223372036854775808",
        "run.keep must fit into 64 bits, not 9223372036854775808",
    ),
    "a file of megabytes": ("#" * 2**19, "more than 262,144 characters"),
    "more blocks than can be listed": (
        "s = @models.config.Stack\ns.count = 10000000\nm = @models.config.ModelConfig\nm.vocabulary = 8\n"
        "m.width = 8\n"
        "m.heads = 1\nm.mlp_width = 8\nm.context = 8\nm.stacks = (s,)",
        "the stacks have 10,000,000 blocks; at most 2,000",
    ),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_too_much_is_refused_in_a_short_message(tmp_path, text, reason):
    (tmp_path / "a.gin").write_text(text)
    with pytest.raises(InputError, match=reason) as refused:
        read_experiment(tmp_path / "a.gin")
    assert len(str(refused.value)) < 1500


def test_values_from_python_are_bounded_too(tmp_path):
    (tmp_path / "a.gin").write_text(PART + "1.0")
    deep: tuple = ()
    for _ in range(500):
        deep = (deep,)
    for value, reason in ((deep, "more than 100 deep"), ((0,) * 200_000, "more than 100,000"), (10**5000, "float can")):
        with pytest.raises(InputError, match=reason):
            read_experiment(tmp_path / "a.gin", {"opt.learning_rate": value})


def test_what_is_at_the_limit_is_read(tmp_path):
    chain = "".join(f"c{level} = %c{level + 1}\n" for level in range(96)) + "c96 = 1.0"
    (tmp_path / "a.gin").write_text(PART + f"%c0\n{chain}")
    assert read_experiment(tmp_path / "a.gin").part("opt").learning_rate == 1.0


def test_files_that_include_each_other_without_end_are_refused_and_many_side_by_side_are_read(tmp_path):
    for number in range(300):
        (tmp_path / f"deep{number}.gin").write_text(f"include 'deep{number + 1}.gin'\n")
        (tmp_path / f"flat{number}.gin").write_text("")
    with pytest.raises(InputError, match="include each other more than 100 deep") as refused:
        read_experiment(tmp_path / "deep0.gin")
    assert str(refused.value).count("\n") < 30
    (tmp_path / "a.gin").write_text("".join(f"include 'flat{number}.gin'\n" for number in range(300)) + PART + "1.0")
    assert list(read_experiment(tmp_path / "a.gin").parts) == ["opt"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", "is a pipe or a device"),
        ("pipe", "is a pipe or a device"),
        (".", "can't be read: Is a directory"),
        ("a\\0b", "can't be a path"),
        ("a\\ud800b", "can't be a path"),
        ("a" * 5000, "can't be read: File name too long"),
        ("large", "has more than 1,048,576 bytes"),
    ],
)
def test_only_regular_files_are_opened(tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with open("large", "wb") as file:
        file.truncate(2**30)
    Path("a.gin").write_text(f"include '{path}'")
    with pytest.raises(InputError, match=reason):
        read_experiment("a.gin")
