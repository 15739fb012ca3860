"""The pages of README.md, docs/ and notebooks/ lead to where they say and have a place in the site's side bar."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.site.build import FRONT, Section, links, navigation, notebook_page, pages_of
from docs.site.commands import make_targets
from launch.__main__ import main as launch
from reasoning.cli.main import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = [CHECKOUT / name for name in dict.fromkeys((FRONT, *pages_of(navigation(), CHECKOUT)))]
MAKE_WORD = re.compile(r"(?:`|^|&& )make ((?:[a-z0-9-]+ ?)+)(?=[^a-z0-9/-]|$)", re.MULTILINE)
COMMAND_WORD = re.compile(r"python -m (reasoning|launch) ([a-z][a-z-]*)|`reasoning ([a-z][a-z-]*)")


def prose_of(page: Path) -> str:
    return notebook_page(page.read_text()) if page.suffix == ".ipynb" else page.read_text()


def anchors(text: str) -> set[str]:
    """The headings of a page as code hosts name them in an address."""
    unfenced = re.sub(r"^( *)(```|~~~).*?^\1\2", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", unfenced, re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    """Relative links of a page that lead to no file, or to no heading of it."""
    for target, anchor in links(prose_of(page)):
        path = page.parent / target
        if not path.exists():
            yield f"{page.name}: {target} isn't there"
        elif anchor and anchor not in anchors(prose_of(path)):
            yield f"{page.name}: {target} has no heading {anchor}"


def launch_targets() -> set[str]:
    """The words that ``python -m launch`` takes first, by what its help says."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.suppress(SystemExit):
        launch(["--help"])
    return set(re.findall(r"^    ([a-z-]+)(?: |$)", heard.getvalue(), re.MULTILINE))


def unknown_commands(text: str) -> Iterator[str]:
    """Commands of this project that a text names and that aren't there."""
    known = {"reasoning": set(COMMANDS), "launch": {*launch_targets(), "TARGET"}}
    for program, word, short in COMMAND_WORD.findall(text):
        if (word or short) not in known[program or "reasoning"]:
            yield f"{program or 'reasoning'} {word or short}"
    targets = make_targets(CHECKOUT / "Makefile")
    for words in MAKE_WORD.findall(text):
        yield from (f"make {word}" for word in words.split() if word not in targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_to_a_file_and_a_heading(page: Path):
    assert not list(broken_links(page))


def test_a_link_to_nothing_is_named(tmp_path: Path):
    page = tmp_path / "a.md"
    fenced = "```\n[d](d.md)\n```\n[e](https://x.org/e.md)\n"
    page.write_text(f"# One way\n[a](a.md#one-way) [b](b.md) [c](a.md#two)\n{fenced}")
    assert list(broken_links(page)) == ["a.md: b.md isn't there", "a.md: a.md has no heading #two"]


def test_every_page_has_one_place_in_the_side_bar():
    found = [path for pattern in ("docs/*.md", "notebooks/*.ipynb") for path in CHECKOUT.glob(pattern)]
    there = {str(path.relative_to(CHECKOUT)) for path in found}
    listed = pages_of(navigation(), CHECKOUT)
    assert sorted(there - set(listed)) == [] and len(listed) == len(set(listed))


def test_every_place_in_the_side_bar_leads_to_a_page():
    fixed = [name for section in navigation() for name in section.pages if "*" not in name]
    assert [name for name in fixed if not (name.startswith("reference/") or (CHECKOUT / name).is_file())] == []


def test_a_pattern_may_lead_to_several_pages_or_none(tmp_path: Path):
    for name in ("b.md", "a.md"):
        (tmp_path / name).touch()
    assert pages_of([Section("all", ("*.md", "c*.md"))], tmp_path) == ["a.md", "b.md"]


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_commands_that_pages_name_exist(page: Path):
    assert not list(unknown_commands(prose_of(page)))


def test_a_command_that_is_not_there_is_named():
    text = (
        "`make r1 tset`, `reasoning shwo RUN`\nmake lnit\npython -m reasoning rnu x.gin\npython -m launch slrum x.gin"
    )
    assert list(unknown_commands(text)) == ["reasoning shwo", "reasoning rnu", "launch slrum", "make tset", "make lnit"]


def test_the_first_page_is_short():
    assert len((CHECKOUT / FRONT).read_text().splitlines()) <= 160
