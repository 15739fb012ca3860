"""The report in a real browser: it opens in peace, shows all of its parts, fits a phone, and hostile text stays text.

Chromium comes from the system's packages. Where there is none these tests are skipped; CI sets
``REASONING_REQUIRE_CHROMIUM=1``, and then they fail instead.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from miniature import learning_stages
from playwright.sync_api import Browser, Page, sync_playwright
from written_run import HOSTILE, workflow, write_run

from reasoning.core.text import printable
from reasoning.report.facts import gather
from reasoning.report.write import PAGE, write
from reasoning.use.run_folder import open_run

pytestmark = pytest.mark.slow

REQUIRED = os.environ.get("REASONING_REQUIRE_CHROMIUM") == "1"
PHONE, DESKTOP = 390, 1280


@dataclass
class Opened:
    """A page and every complaint that the browser has had about it, its requests beyond the file itself included."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if REQUIRED:
            pytest.fail("there is no Chromium, and REASONING_REQUIRE_CHROMIUM=1 says that there must be")
        pytest.skip("there is no Chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("report") / "run")
    write(folder, gather(folder))
    return folder / PAGE


def opened(browser: Browser, file: Path, width: int = DESKTOP, scheme: str = "light") -> Opened:
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    found = Opened(page)
    page.on("console", lambda message: found.complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (found.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("requestfailed", lambda request: found.complaints.append(f"failed: {request.url}"))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:")) or found.complaints.append(request.url)
    )
    page.goto(file.as_uri())
    return found


def test_it_opens_without_errors_violations_or_requests(browser, report):
    for scheme in ("light", "dark"):
        found = opened(browser, report, scheme=scheme)
        for summary in found.page.locator("summary").all():
            summary.click()
        assert found.complaints == []
        found.page.close()


def test_the_policy_is_in_force_and_complaints_are_heard(browser, report, tmp_path):
    broken = tmp_path / PAGE
    attack = '<script>document.title="taken"</script><p style="color:red">x</p><img src="https://example.com/x.png">'
    broken.write_text(report.read_text().replace("<main>", f"<main>{attack}"))
    found = opened(browser, broken)
    text = " ".join(found.complaints)
    assert all(word in text for word in ("script", "style", "img-src"))
    assert found.page.title() != "taken"
    found.page.close()


def test_all_parts_are_there(browser, report):
    found = opened(browser, report)
    page = found.page
    titles = page.locator("h2").all_inner_texts()
    assert [title.removesuffix(" #") for title in titles] == [
        "What this is", "The workflow", "Scores", "Differences", "How to read this", "Curves", "Probe problems",
        "Replies side by side", "Totals", "Settings",
    ]  # fmt: skip
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href") or "").count() == 1
    learning = [stage.name for stage in workflow() if stage.steps]
    assert page.locator(".stage h3").all_inner_texts() == learning
    for path in page.locator(".chart .series:not(.spots)").all():
        box = path.bounding_box()
        assert box is not None and box["width"] > 100
    hovers = page.locator(".chart .hovers title").all_text_contents()
    assert any(text.startswith("step 15\nprobe/lenient 0.") and "probe/strict" in text for text in hovers)
    table = page.locator("#scores table").first
    assert [cell.split("\n")[0] for cell in table.locator("tbody th").all_inner_texts()] == [
        "base", "zero", "cold", "rl1", "sft2", "r1",
    ]  # fmt: skip
    assert re.fullmatch(r"0\.\d{3}\n+0\.\d{3}–0\.\d{3}", table.locator("tbody td").first.inner_text())
    page.close()


@pytest.mark.parametrize(("width", "drawn"), [(PHONE, ".graph-narrow"), (DESKTOP, ".graph-wide")])
def test_the_graph_shows_every_stage_once_and_nothing_lies_upon_a_box(browser, report, width, drawn):
    found = opened(browser, report, width)
    boxes = found.page.locator(f"{drawn} .box")
    assert sorted(boxes.locator(".name").all_text_contents()) == sorted(stage.name for stage in workflow())
    frames = [box for frame in boxes.locator("rect").all() if (box := frame.bounding_box()) is not None]
    for place, one in enumerate(frames):
        for other in frames[:place]:
            apart = one["x"] >= other["x"] + other["width"] or other["x"] >= one["x"] + one["width"]
            assert apart or one["y"] >= other["y"] + other["height"] or other["y"] >= one["y"] + one["height"]
    for text in boxes.locator("text").all():
        inner = text.bounding_box()
        frame = text.locator("xpath=..").locator("rect").bounding_box()
        assert inner is not None and frame is not None
        assert frame["x"] <= inner["x"] and inner["x"] + inner["width"] <= frame["x"] + frame["width"]
    found.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways_in_type_that_can_be_read(browser, report, scheme):
    found = opened(browser, report, PHONE, scheme)
    page = found.page
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    wide = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
    assert page.evaluate(wide) > 0  # There are tables that scroll in boxes of their own.
    scale = page.evaluate(
        "[...document.querySelectorAll('.graph-narrow svg, .chart svg')].map(s => s.getScreenCTM().a)"
    )
    assert min(scale) > 0.9
    page.close()


def test_text_has_the_contrast_that_everybody_can_read(browser, report):
    for scheme in ("light", "dark"):
        found = opened(browser, report, scheme=scheme)
        low = found.page.evaluate(CONTRASTS)
        assert low == []
        found.page.close()


def test_hostile_text_shows_as_itself_and_does_nothing(browser, report):
    found = opened(browser, report)
    page = found.page
    assert page.locator("#replies-side-by-side .quoted").nth(1).inner_text() == printable(HOSTILE)
    assert page.locator("script, img, iframe, object, [onerror], [onload], [style], a[href^=javascript]").count() == 0
    assert page.title().startswith("Report of a run")
    assert "\u202e" not in page.content()
    assert page.locator("section").count() == len(page.locator("nav a").all())
    assert found.complaints == []
    page.close()


def test_a_real_run_ends_with_a_report_that_opens_in_peace(browser, reference):
    found = opened(browser, reference / PAGE, PHONE)
    page = found.page
    run = open_run(reference)
    assert page.locator(".stage h3").all_inner_texts() == list(learning_stages())
    assert sorted(page.locator(".graph-narrow .box .name").all_text_contents()) == sorted(run)
    assert page.locator("#scores table").count() >= 1
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    assert found.complaints == []
    assert (reference / "report.md").read_text().startswith("# Report of a run: ")
    page.close()


# Ratios by WCAG 2: 4.5 to 1 for text. Backgrounds are opaque, or none, in which case the next element's outside counts.
CONTRASTS = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const box = at.matches('g.box') ? at.querySelector('rect') : null;
      const rgb = parts(box ? getComputedStyle(box).fill : getComputedStyle(at).backgroundColor);
      if (box || rgb.length < 4 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest('title') || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const ink = light(parts(node.namespaceURI.endsWith('svg') ? style.fill : style.color));
    const paper = light(behind(node));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const opacity = Number(style.opacity);
    if (ratio * opacity < 4.5) found.add(`${node.tagName}.${node.className} ${ratio.toFixed(2)}`);
  }
  return [...found];
}"""
