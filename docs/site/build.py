"""Lays out the site's sources and builds it: ``python -m docs.site.build OUT``; ``make docs`` calls it.

Pages lie in the layout of the repository, so a relative link leads to the same place on a code host and in the site.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from docs.site import api, commands, parts

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
FRONT = "README.md"
"""The site's first page."""

_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")


@dataclass(frozen=True)
class Section:
    """Neighbouring pages under one title; a page is a path or a pattern from the repository's root."""

    title: str
    pages: tuple[str, ...]


def navigation(path: Path = HERE / "navigation.toml") -> list[Section]:
    """The side bar."""
    return [Section(entry["title"], tuple(entry["pages"])) for entry in tomllib.loads(path.read_text())["section"]]


def pages_of(sections: list[Section], root: Path) -> list[str]:
    """The paths of the pages that patterns and paths lead to, in their order."""
    patterns = [pattern for section in sections for pattern in section.pages]
    return [str(path.relative_to(root)) for pattern in patterns for path in sorted(root.glob(pattern))]


def links(text: str) -> list[tuple[str, str]]:
    """The relative links of a page as (path, #heading or ""), those in fenced code left out."""
    prose = re.sub(r"^( *)(```|~~~).*?^\1\2", "", text, flags=re.MULTILINE | re.DOTALL)
    return [(target, anchor or "") for target, anchor in _LINK.findall(prose)]


def lay_out(root: Path, out: Path) -> None:
    """Writes the sources of the whole site to the folder ``out``: pages, what they show, what the code tells."""
    written = {"reference/commands.md": commands.page(root / "Makefile"), "reference/api.md": api.page()}
    written |= {f"reference/parts/{name}.md": text for name, text in parts.pages(root).items()}
    for name, text in written.items():
        _write(out / name, text)
    sections = navigation()
    for name in (FRONT, *pages_of(sections, root)):
        _write(out / _page_name(name), _page(root, name))
        _copy_shown(root, name, out)
    with (out / _page_name(FRONT)).open("a") as front:
        for section in sections:
            names = [*pages_of([section], root), *pages_of([section], out)]
            front.write(_tree(section, list(dict.fromkeys(map(_page_name, names)))))


def _page_name(name: str) -> str:
    return "index.md" if name == FRONT else re.sub(r"\.ipynb$", ".md", name)


def _source(root: Path, name: str) -> str:
    text = (root / name).read_text()
    return notebook_page(text) if name.endswith(".ipynb") else text


def _page(root: Path, name: str) -> str:
    """A page with the links to the first page and to notebooks as the site has them."""
    linked = re.sub(r"(\]\([^)\s#]*)\.ipynb\b", r"\1.md", _source(root, name))
    return re.sub(r"(\]\((?:\.\./)*)README\.md", r"\1index.md", linked)


def _copy_shown(root: Path, name: str, out: Path) -> None:
    """Copies what a page shows or links to that is no page: pictures, experiment files, the licence."""
    for target, _ in links(_source(root, name)):
        path = ((root / name).parent / target).resolve()
        if path.is_file() and path.suffix not in (".md", ".ipynb"):
            copy = out / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def notebook_page(text: str) -> str:
    """A notebook as Markdown: its texts, and its code in fences."""
    cells = json.loads(text)["cells"]
    return "\n\n".join(
        "".join(cell["source"]) if cell["cell_type"] == "markdown" else f"```python\n{''.join(cell['source'])}\n```"
        for cell in cells
    )


def _tree(section: Section, names: list[str]) -> str:
    listed = "\n".join(name.removesuffix(".md") for name in names)
    return f"\n```{{toctree}}\n:caption: {section.title}\n:hidden:\n\n{listed}\n```\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main(out: Path) -> int:
    """Builds the site into ``out/html``, every warning an error, and returns the exit status of Sphinx."""
    sources = out / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    lay_out(ROOT, sources)
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-j", "2"]
    return subprocess.run(
        [*sphinx, "-c", str(HERE), "-d", str(out / "doctrees"), str(sources), str(out / "html")]
    ).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
