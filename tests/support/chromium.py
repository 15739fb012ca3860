"""A real browser, and what it has to complain about.

Chromium comes from the system's packages. Where there is none these tests are skipped; CI sets
``REASONING_REQUIRE_CHROMIUM=1``, and then they fail instead.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

REQUIRED = os.environ.get("REASONING_REQUIRE_CHROMIUM") == "1"


@contextmanager
def browsing() -> Iterator[Browser]:
    """One started browser for several checks."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if REQUIRED:
            pytest.fail("there is no Chromium, and REASONING_REQUIRE_CHROMIUM=1 says that there must be")
        pytest.skip("there is no Chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Opened:
    """A page and every complaint that the browser has had about it, requests beyond its own place included."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, browser: Browser, address: str, width: int, scheme: str = "light") -> "Opened":
        """Opens an address in a page of its own."""
        size = {"width": width, "height": 800}
        page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        found, own = cls(page), urlsplit(address)
        allowed = ("file:", "data:") if own.scheme == "file" else (f"{own.scheme}://{own.netloc}/", "data:")
        page.on("console", lambda message: found.complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (found.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("requestfailed", lambda request: found.complaints.append(f"failed: {request.url}"))
        page.on("request", lambda request: request.url.startswith(allowed) or found.complaints.append(request.url))
        page.goto(address)
        return found


# Ratios by WCAG 2: 4.5 to 1 for text. A background that lets others through is blended with those behind it.
CONTRASTS = """() => {
  const parts = text => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith('color(') ? found.map((v, k) => k < 3 ? v * 255 : v) : found;
  };
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = node => {
    const layers = [];
    for (let at = node; at && layers.at(-1)?.[3] !== 1; at = at.parentElement) {
      const box = at.matches('g.box') ? at.querySelector('rect') : null;
      const style = getComputedStyle(box ?? at);
      const [red, green, blue, alpha = 1] = parts(box ? style.fill : style.backgroundColor);
      if (alpha > 0) layers.push([red, green, blue, alpha]);
    }
    return layers.reduceRight((below, layer) => below.map((v, k) => v + (layer[k] - v) * layer[3]), [255, 255, 255]);
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
