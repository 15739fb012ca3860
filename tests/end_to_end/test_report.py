"""The report in a real browser: it opens in peace, shows all its parts, fits a phone, and hostile text stays text."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CONTRASTS, Opened, browsing
from miniature import learning_stages
from playwright.sync_api import Browser, Page
from written_run import HOSTILE, workflow, write_run

from reasoning.core.text import printable
from reasoning.findings.facts import gather
from reasoning.report.content import PAGE, write
from reasoning.use.run_folder import open_run

pytestmark = pytest.mark.slow

PHONE, DESKTOP = 400, 1280


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("report") / "run")
    write(folder, gather(folder))
    return folder / PAGE


def opened(browser: Browser, file: Path, width: int = DESKTOP, scheme: str = "light", at: str = "") -> Opened:
    return Opened.at(browser, f"{file.as_uri()}{at}", width, scheme)


def unfold(page: Page) -> None:
    """Clicks on the headings of all that is folded."""
    for summary in page.locator("details > summary").all():
        if not summary.evaluate("summary => summary.parentElement.open"):
            summary.click()


def test_it_opens_without_errors_violations_or_requests(browser, report):
    for scheme in ("light", "dark"):
        found = opened(browser, report, scheme=scheme, at="#stages")
        unfold(found.page)
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
        "At a glance", "What happened", "Stages", "Scores", "Differences", "How to read this", "Replies side by side",
        "Totals", "How to repeat it",
    ]  # fmt: skip
    assert page.locator("svg:not([role][aria-label]):not([aria-hidden])").count() == 0  # Each picture in words.
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href") or "").count() == 1
    page.goto(f"{page.url.partition('#')[0]}#stages")
    learning = [f"stage-{stage.name}" for stage in workflow() if stage.steps]
    with_charts = page.locator(".panel:has(.charts)").all()
    assert [each.get_attribute("id") for each in with_charts] == learning
    for path in page.locator(".panel .chart .series:not(.spots)").all():
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
    said = [link.get_attribute("aria-label") or "" for link in found.page.locator(f"{drawn} a").all()]
    assert sorted(each.partition(" (")[0] for each in said) == sorted(stage.name for stage in workflow())
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


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_first_screen_answers_the_first_questions_without_scrolling(browser, report, width):
    """What ran, whether it learnt, how surely, what it cost, where to look next; beside a phone's picture all of it."""
    found = opened(browser, report, width)
    page = found.page
    parts = [".verdict", ".ran", ".dots >> nth=0", ".notes"] + ([".graph-wide"] if width == DESKTOP else [])
    for part in parts:
        box = page.locator(part).bounding_box()
        assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= 800, part
        assert box["x"] + box["width"] <= width
    assert page.locator(".verdict").inner_text().startswith("It learnt: lenient pass@1 from 0.28 (base) to 0.9")
    assert page.locator(".notes dt").all_inner_texts() == ["Changed most", "Can't tell", "Look next", "Cost"]
    lines = "all => all.map(each => Math.round(each.clientHeight / parseFloat(getComputedStyle(each).lineHeight)))"
    assert sum(page.locator(".notes dd").evaluate_all(lines)[:2]) <= 3  # What changed most and what can't be told.
    page.close()


@pytest.mark.parametrize(("width", "drawn"), [(PHONE, ".graph-narrow"), (DESKTOP, ".graph-wide")])
def test_a_click_on_a_box_opens_its_stage_and_the_keyboard_does_too(browser, report, width, drawn):
    page = opened(browser, report, width).page
    assert page.locator(".panel:visible").count() == 0
    page.locator(f"{drawn} a", has_text="zero").first.click()
    assert [each.get_attribute("id") for each in page.locator(".panel:visible").all()] == ["stage-zero"]
    opened_panel = page.locator("#stage-zero")
    assert "Reinforcement learning alone" in opened_panel.inner_text() and "Cost: " in opened_panel.inner_text()
    assert opened_panel.locator(".chart").count() >= 3 and opened_panel.locator("pre").count() == 2
    assert "reasoning view . --at stage=zero" in opened_panel.inner_text()
    assert (opened_panel.bounding_box() or {"y": 1e9})["y"] < 800
    opened_panel.get_by_text("close").click()
    assert page.locator(".panel:visible").count() == 0
    page.locator(f"{drawn} a", has_text="cold_rows").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".panel:visible").get_attribute("id") == "stage-cold_rows"
    exam = page.locator("#scores .chart")
    assert 0 < page.locator("#scores .chart svg:visible").count() < exam.count()  # Those of the first exam are open.
    page.emulate_media(media="print")
    assert page.locator(".panel:visible").count() == len(workflow())
    heights = [(each.bounding_box() or {"height": 0})["height"] for each in exam.all()]
    assert min(heights) > 150  # What is folded on the screen is open on paper.
    page.close()


def test_on_paper_the_first_screen_is_the_first_page_and_nothing_is_cut_off_or_too_small(browser, report):
    page = opened(browser, report).page
    [box] = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", page.pdf(prefer_css_page_size=True)))
    assert float(box[0]) > 1.2 * float(box[1])  # The workflow lies across.
    page.emulate_media(media="print")
    for wide, tall in ((1047, 718), (980, 740)):  # What the margins leave of A4 and of Letter.
        page.set_viewport_size({"width": wide, "height": tall})
        assert page.evaluate("document.documentElement.scrollWidth") == wide
        cut = "[...document.querySelectorAll('pre, .scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
        assert page.evaluate(cut) == 0
        for part in (".verdict", ".notes", ".graph-wide"):
            drawn = page.locator(part).bounding_box()
            assert drawn is not None and drawn["y"] + drawn["height"] <= tall, part
    sizes = "[...document.querySelectorAll('td, td small, pre code')].map(each => getComputedStyle(each).fontSize)"
    assert min(float(size.removesuffix("px")) for size in page.evaluate(sizes)) >= 8.5
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways_in_type_that_can_be_read(browser, report, scheme):
    found = opened(browser, report, PHONE, scheme, "#stages")
    page = found.page
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    wide = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
    assert page.evaluate(wide) > 0  # There are tables that scroll in boxes of their own.
    scale = page.evaluate(
        "[...document.querySelectorAll('.graph-narrow svg, .chart svg, .dots svg')].map(s => s.getScreenCTM().a)"
    )
    assert min(scale) > 0.9
    page.close()


def test_text_has_the_contrast_that_everybody_can_read(browser, report):
    for scheme in ("light", "dark"):
        found = opened(browser, report, scheme=scheme, at="#stages")
        unfold(found.page)
        low = found.page.evaluate(CONTRASTS)
        assert low == []
        found.page.close()


def test_hostile_text_shows_as_itself_and_does_nothing(browser, report):
    found = opened(browser, report, at="#stages")
    page = found.page
    page.locator("#replies-side-by-side summary").first.click()
    assert page.locator("#replies-side-by-side .quoted").nth(1).inner_text() == printable(HOSTILE)
    assert page.locator("script, img, iframe, object, [onerror], [onload], [style], a[href^=javascript]").count() == 0
    assert page.title().startswith("Report of a run")
    assert "\u202e" not in page.content()
    assert page.locator("main > section").count() == len(page.locator("nav a").all())
    assert found.complaints == []
    page.close()


def test_a_real_run_ends_with_a_report_that_opens_in_peace(browser, reference):
    found = opened(browser, reference / PAGE, PHONE)
    page = found.page
    run = open_run(reference)
    charted = [each.get_attribute("id") for each in page.locator(".panel:has(.charts)").all()]
    assert charted == [f"stage-{name}" for name in learning_stages()]
    assert sorted(page.locator(".graph-narrow .box .name").all_text_contents()) == sorted(run)
    assert page.locator("#scores table").count() >= 1
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    assert found.complaints == []
    assert (reference / "report.md").read_text().startswith("# Report of a run: ")
    page.close()
