"""What can be told of the image without building it: its instructions, and that everything it copies is there."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = (CHECKOUT / "launch/Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its words, continuation lines joined."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined]


def test_it_begins_from_a_python_that_the_package_takes_and_has_known_instructions_alone():
    words = instructions()
    image = re.fullmatch(r"python:3\.(\d+)-slim", words[0][1])
    assert words[0][0] == "FROM" and image is not None and int(image[1]) >= 11
    assert {name for name, _ in words} <= {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}


def test_every_environment_that_it_names_has_its_requirements_and_installs_by_hash():
    named = re.search(r"ENVIRONMENT is one of requirements/: (.*)\. Everything", TEXT)
    assert named is not None
    environments = re.findall(r"\b(run|tpu|cuda12|cuda13)\b", named[1])
    assert environments == ["run", "tpu", "cuda12", "cuda13"]
    for environment in environments:
        assert (CHECKOUT / f"requirements/{environment}.txt").is_file()
    installs = [line for _, words in instructions() for line in words.split("&&") if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def test_requirements_are_copied_before_the_code():
    copies = [words.split() for name, words in instructions() if name == "COPY"]
    assert copies[0][-1] == "requirements/" and copies[-1] == [".", "."]
