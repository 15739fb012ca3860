import re
from base64 import b64encode
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote

from reasoning.report.content import compose
from reasoning.report.document import Cell, Code, Grid, Paragraph, Report, Section
from reasoning.report.page import digest, page

VOID = {"meta", "link", "br", "wbr", "hr", "col"}


class Balanced(HTMLParser):
    """Fails where a tag closes another than the one that is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(report):
    reader = Balanced()
    reader.feed(page(report))
    reader.close()
    assert reader.open == []
    return reader


def test_every_tag_is_closed_in_its_place_and_no_two_parts_share_a_name(facts):
    found = read(compose(facts))
    assert len(set(found.ids)) == len(found.ids) == len(compose(facts).sections) + len(facts.stages)
    assert not {"script", "img", "iframe", "object", "form", "base"} & found.seen


def test_the_policy_allows_the_one_style_block_by_its_hash_and_nothing_else(facts):
    source = page(compose(facts))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', source)
    styles = re.findall(r"<style>(.*?)</style>", source, re.DOTALL)
    assert policy is not None and len(styles) == 1
    digest = b64encode(sha256(styles[0].encode()).digest()).decode()
    allowed = unescape(policy[1])
    assert allowed.startswith("default-src 'none'; ") and f"style-src 'sha256-{digest}'" in allowed
    assert "unsafe" not in allowed and "script-src" not in allowed and "connect-src" not in allowed


def test_nothing_in_it_leads_outside(facts):
    source = page(compose(facts))
    assert set(re.findall(r'(?:href|src)="([^"#]*)', source)) == {"", "data:,"}
    assert "url(" not in source and "@import" not in source


def test_groups_of_columns_span_them_and_folded_tables_open_on_demand():
    grid = Grid(
        "c", ("row", "a", "b"), ((Cell("x"), Cell("1", "0–2", "up"), Cell("2")),), folded=True, groups=(("g", 2),)
    )
    source = page(Report("t", (Section("s", (grid,)),)))
    assert '<th scope="colgroup" colspan="2">g</th>' in source
    assert '<td class="up">1<small>0–2</small></td>' in source
    assert "<details><summary>c</summary>" in source


def test_every_link_leads_to_a_part_of_the_page(facts):
    source = page(compose(facts))
    links = {unquote(unescape(link)) for link in re.findall(r'href="#([^"]*)"', source)}
    assert links <= set(map(unescape, re.findall(r' id="([^"]*)"', source)))
    assert {f"stage-{stage.name}" for stage in facts.stages} <= links


def test_each_picture_has_a_text_alternative(facts):
    pictures = re.findall(r"<svg [^>]*>", page(compose(facts)))
    assert len(pictures) > 20 and all('aria-label="' in each and 'role="' in each for each in pictures)


def test_text_of_blocks_is_escaped_everywhere():
    hostile = "</p><script>x</script>"
    blocks = (Paragraph(hostile), Code(hostile, hostile), Grid(hostile, (hostile,), ((Cell(hostile, hostile),),)))
    source = page(Report(hostile, (Section("s", blocks),)))
    assert "<script>" not in source and source.count("&lt;script&gt;x&lt;/script&gt;") >= 8


def test_a_percent_sign_stays_with_its_number():
    assert "95\u00a0% of" in page(Report("t", (Section("s", (Paragraph("95 % of"),)),)))


def test_a_policy_names_a_text_by_its_hash_in_base_64():
    assert digest("") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # SHA-256 of nothing (FIPS 180-4).
