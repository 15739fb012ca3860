"""The viewer in a real browser: from the curve to the tokens, every view has an address, hostile text stays text."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chromium import CONTRASTS, Opened, browsing
from playwright.sync_api import Browser, Route, expect
from rollout_files import rollout_rows, write_rollouts
from written_run import HOSTILE, place_of, write_run
from written_sweep import ARMS, HOSTILE_ARM, write_sweep

from reasoning.core.text import printable
from reasoning.viewer.answers import Answers
from reasoning.viewer.export import exported
from reasoning.viewer.runs import RunsFolder
from reasoning.viewer.server import serve

pytestmark = pytest.mark.slow

PHONE, DESKTOP = 400, 1280
ATTACKS = "script:not([src]), img, iframe, object, [onerror], [onload], [style], a[href^=javascript]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("view") / "run")
    for step in (1, 45):
        write_rollouts(place_of(folder, "zero"), step, problems=100, samples=4)
    return folder


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with served(run) as opens:
        yield opens


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server, opens = serve(RunsFolder(folder), 0)
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield opens
        server.shutdown()
        thread.join()


def test_from_the_curve_to_the_group_to_the_completion_and_back_by_an_address(browser: Browser, address: str):
    found = Opened.at(browser, f"{address}#stage=zero", DESKTOP)
    page = found.page
    page.locator("#chart svg").wait_for()
    assert page.locator("#metric").input_value() == "reward" and page.locator(".kept").count() == 2
    assert page.locator("svg:not([role][aria-label])").count() == 0
    page.locator("#list .item").first.wait_for()
    assert "400 rollouts" in page.locator("#count").inner_text()
    page.locator("#chart svg").click(position={"x": 80, "y": 60})
    expect(page).to_have_url(re.compile("step=1"))
    expect(page.locator("#list")).to_contain_text("step 1, group 0")
    matching = sum(row["rewards/strict"] == 1 and row["rewards/tagged"] == 0 for row in rollout_rows(1, 100, 4))
    page.locator("#where").fill("strict>=1, tagged<1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#count")).to_contain_text(f"{matching} rollouts")
    page.locator("#list .item").nth(2).click()
    page.locator("#one h2").wait_for()
    assert "strict 1 · tagged 0" in page.locator("#one").inner_text()
    page.get_by_role("button", name="this group").click()
    expect(page.locator("#count")).to_contain_text(re.compile("^4 rollouts"))
    again = Opened.at(browser, f"{address}#{page.url.partition('#')[2]}", DESKTOP).page
    again.locator("#list .item").nth(3).wait_for()
    assert again.locator("#where").input_value().startswith("group=")
    page.locator("#where").fill("beauty>1")
    page.get_by_role("button", name="Show").click()
    page.locator("#trouble").wait_for()
    assert "no number 'beauty'" in page.locator("#trouble").inner_text()
    page.reload()  # An address may ask in vain, too, and then the question can be mended.
    expect(page.locator("#where")).to_have_value("beauty>1")
    page.locator("#where").fill("length<0")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#count")).to_contain_text("0 rollouts")
    page.get_by_role("button", name="all of them").click()
    expect(page.locator("#count")).to_contain_text("400 rollouts")
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")
    assert [each for each in found.complaints if "400" not in each] == []


def test_a_problem_stands_beside_itself_across_checkpoints_with_differences_marked(browser: Browser, address: str):
    page = Opened.at(browser, f"{address}#stage=exam&problem=0&method=greedy", DESKTOP).page
    page.locator("#one .reply").nth(5).wait_for()
    assert page.locator("#one .reply h2").all_inner_texts() == ["base", "zero", "cold", "rl1", "sft2", "r1"]
    assert page.locator("#one mark").count() == 0  # All wrote the same here.
    page.goto(f"{address}#stage=exam&problem=0&method=samples&where=r1%3E0.5")
    page.locator("#one .reply").nth(5).wait_for()
    page.close()


def test_what_is_chosen_far_down_comes_into_sight_and_the_list_keeps_its_place(browser: Browser, address: str):
    for width in (PHONE, DESKTOP):
        page = Opened.at(browser, f"{address}#stage=zero", width).page
        item = page.locator("#list .item").nth(24)
        item.focus()
        page.keyboard.press("Enter")
        page.locator("#tokens").wait_for()
        chosen = page.locator("#one h2").bounding_box()
        assert chosen is not None and 0 <= chosen["y"] < 800, width
        if width == DESKTOP:
            held = page.locator("#list [aria-current]:focus").bounding_box()
            assert held is not None and 0 <= held["y"] < 800
        page.close()


def test_the_curve_is_labelled_and_a_stage_without_rollouts_has_nothing_to_filter(browser: Browser, address: str):
    page = Opened.at(browser, f"{address}#stage=base", PHONE).page
    page.locator("#chart svg").wait_for()
    texts = page.locator("#chart text").all_text_contents()
    assert len(texts) == 4 and texts[2:] == ["step 1", "step 120"] and float(texts[0]) < float(texts[1])
    assert [page.locator(part).is_visible() for part in ("#filter", "#list", "#overview")] == [False] * 3
    page.goto(f"{address}#stage=students")
    current = page.locator("#stages [aria-current]", has_text="students")
    current.wait_for()
    box = current.bounding_box()
    assert box is not None and 0 <= box["x"] and box["x"] + box["width"] <= PHONE
    expect(page.locator("#where")).to_have_attribute("placeholder", "r1>=1, llama_weak<1")
    page.close()


def with_tokens(route: Route, **instead: None) -> None:
    """The server's own answer about a row, with tokens as a stage with a tokenizer has them."""
    tokens = [
        {"text": "x", "log_prob": -each, "mismatch": (each - 1.5) / 15, "entropy": 2 - each / 1.5} | instead
        for each in (0.0, 0.75, 3.0)
    ]
    route.fulfill(json=route.fetch().json() | {"tokens": tokens, "advantage": -2.0})


SHADES = {
    "log-probability": ["", "h1", "h4"],
    "entropy": ["h4", "h3", ""],
    "mismatch": ["k4", "k2", "h4"],
    "advantage": ["k4", "k4", "k4"],
}
"""Classes of the tokens above by what they are coloured by: warm ones begin with h, cold ones with k."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_shade_of_a_token_lets_its_text_be_read(browser: Browser, address: str, scheme: str):
    page = Opened.at(browser, f"{address}#stage=zero&row=0", DESKTOP, scheme).page
    page.locator("#tokens").wait_for()
    page.route("**/answers/row?*", with_tokens)
    page.reload()
    choice = page.get_by_label("Tokens coloured by")
    expect(choice.locator("option")).to_have_text(["log-probability", "entropy", "mismatch", "advantage"])
    for way, shades in SHADES.items():
        choice.select_option(way)
        expect(page).to_have_url(re.compile(f"colour={way}"))
        expect(page.locator(".token")).to_have_class([f"token {shade}" for shade in shades])
        page.evaluate("document.querySelector('.token').append(document.createElement('mark'))")
        page.evaluate("document.querySelector('mark').textContent = 'x'")
        assert page.evaluate(CONTRASTS) == []
    expect(page.locator(".token").nth(2)).to_have_attribute("title", re.compile("log-probability −3 · .* entropy 0"))
    page.locator(".token").nth(1).click()  # As a finger does, which can't point.
    expect(page.locator("#token")).to_have_text(re.compile('token 2 of 3, "x": log-probability −0.750 · .* entropy 1'))
    for key, at in (("ArrowRight", 3), ("ArrowRight", 3), ("ArrowLeft", 2)):
        page.keyboard.press(key)
        expect(page.locator("#token")).to_have_text(re.compile(f"token {at} of 3"))
    assert page.locator(".token[aria-current]").count() == 1 and page.evaluate(CONTRASTS) == []
    page.close()


def test_tokens_are_coloured_only_by_what_was_recorded(browser: Browser, address: str):
    page = Opened.at(browser, f"{address}#stage=zero", DESKTOP).page
    page.locator("#list .item").first.wait_for()
    page.route("**/answers/row?*", lambda route: with_tokens(route, mismatch=None, entropy=None))
    page.goto(f"{address}#stage=zero&row=0&colour=entropy")
    choice = page.get_by_label("Tokens coloured by")
    expect(choice.locator("option")).to_have_text(["log-probability", "advantage"])
    expect(choice).to_have_value("log-probability")
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_a_sweep_opens_with_its_arms_as_dots_that_lead_into_each_run(
    browser: Browser, tmp_path: Path, width: int, scheme: str
):
    with served(write_sweep(tmp_path / "sweep")) as address:
        found = Opened.at(browser, address, width, scheme)
        page = found.page
        page.locator("#overview figure").nth(1).wait_for()
        assert (
            page.locator(".verdict").inner_text().endswith("beside baseline, of 2 other arms 1 higher, 1 can't tell.")
        )
        assert page.locator("figure .mark").count() == 2 * len(ARMS) - 1 and page.locator(".mark.up").count() == 1
        said = page.locator("figure svg").nth(1).get_attribute("aria-label") or ""
        assert HOSTILE_ARM in said and "95 % interval" in said and "can't tell" in said
        assert page.locator("#overview h2").all_inner_texts() == [*ARMS]
        cut = "text => [text.getBBox().x, text.getBBox().x + text.getBBox().width].some(x => x < 0 || x > 400)"
        assert [text.text_content() for text in page.locator("figure text").all() if text.evaluate(cut)] == []
        assert page.locator("#filter").is_hidden() and page.locator(ATTACKS).count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == width and page.evaluate(CONTRASTS) == []
        page.locator("#overview div", has_text=HOSTILE_ARM).last.get_by_text("seed 1").click()
        expect(page.locator("#run")).to_have_text(f"Rollouts of {HOSTILE_ARM}/seed-1")
        page.locator("#stages a", has_text="zero").click()
        expect(page.locator("#metric")).to_have_value("reward")
        page.get_by_text("all runs").click()
        page.locator("#overview figure").first.wait_for()
        assert found.complaints == []
        page.close()


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_a_hundred_hostile_completions_are_text_that_fits_and_can_be_read(
    browser: Browser, address: str, width: int, scheme: str
):
    found = Opened.at(browser, f"{address}#stage=zero&step=45&where=sample%3D2&row=6", width, scheme)
    page = found.page
    page.locator("#one .said").nth(1).wait_for()
    shown = 0
    for first in ("32", "64", "96", "0"):
        page.evaluate("at => { location.hash = `stage=zero&step=45&where=sample%3D2&row=6&first=${at}` }", first)
        page.wait_for_function(
            "at => document.getElementById('count').textContent.includes(`, ${at} to`)", arg=str(int(first) + 1)
        )
        texts = page.locator("#list .item .said").all_text_contents()
        shown += sum(text == printable(HOSTILE) for text in texts)
        assert page.locator(ATTACKS).count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(CONTRASTS) == []
    assert shown == 100 and found.complaints == []
    assert page.title() == "Rollouts of run" and "\u202e" not in page.content()
    page.close()


def test_the_policy_is_in_force(browser: Browser, address: str):
    found = Opened.at(browser, address, DESKTOP)
    found.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=document.title=1><p style=color:red>')"
    )
    found.page.wait_for_timeout(200)
    assert any("Content Security Policy" in each for each in found.complaints)
    assert found.page.title() != "1"
    found.page.close()


def test_the_export_is_the_same_page_without_a_server(browser: Browser, run: Path, tmp_path: Path):
    file = tmp_path / "run.html"
    file.write_text(exported(Answers(run)))
    found = Opened.at(browser, f"{file.as_uri()}#stage=zero", PHONE)
    page = found.page
    page.locator("#list .item").nth(2).click()
    page.locator("#one h2").wait_for()
    assert page.locator("#one > .said").inner_text() == printable(HOSTILE)
    page.locator("#steps").select_option("1")
    expect(page.locator("#list")).to_contain_text("step 1, group 0")
    page.goto(f"{file.as_uri()}#stage=exam&problem=3")
    page.locator("#one .reply").nth(5).wait_for()
    assert page.locator(ATTACKS).count() == 2  # Its own script, which its policy names by hash, and its data.
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE and found.complaints == []
    page.close()
