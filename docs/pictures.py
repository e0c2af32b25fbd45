"""The pictures of the page and of a card: `python docs/pictures.py` starts a Hub and the page, and
takes them; the card is that of the merge of docs/tutorial/first-merge.md.

Needs chromium (`apt-get install chromium`) and the extra `dev`.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from simmerge_hub.localhub import running

FOLDER = Path(__file__).parent / "pictures"
COMMAND = [sys.executable, "-m", "simmerge_hub.cli.main"]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PAIR = "?models=nano/code,nano/math"
MERGED = "nano/math-multilingual"
FIRST = (
    ("plan", "nano/math", "nano/multilingual", "-o", "plan.yaml"),
    ("merge", "plan.yaml", "-o", "merged"),
    ("push", "merged", MERGED),
)
"""Commands of docs/tutorial/first-merge.md."""
THREE = "?models=nano/code,nano/math,nano/multilingual"
LONGEST = 300_000
"""Milliseconds that a plan may take."""


def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "hub") as hub:
        known = {**os.environ, **hub.environment(), "PYTHONUNBUFFERED": "1"}
        subprocess.run([*COMMAND, "zoo", "publish", "nano"], env=known, check=True)
        page = subprocess.Popen([*COMMAND, "ui"], env=known, stdout=subprocess.PIPE, text=True)
        assert page.stdout is not None
        address = page.stdout.readline().strip()
        try:
            with sync_playwright() as play:
                browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                take(browser, address)
                merge_first(Path(folder), known)
                take_card(browser, f"{hub.endpoint}/{MERGED}")
        finally:
            page.terminate()
            page.wait(30)


def take(browser: Browser, address: str) -> None:
    """Desktop, phone, dark."""
    page = visit(browser, address + PAIR, 1100, 900)
    page.screenshot(path=FOLDER / "page.png", clip=clip(1100, 960), full_page=True)
    page = visit(browser, address + THREE, 390, 844)
    page.screenshot(path=FOLDER / "page-phone.png", clip=clip(390, 1300), full_page=True)
    page = visit(browser, address + THREE, 1100, 900, dark=True)
    page.get_by_role("tab", name="Similarity").click()
    page.locator("#map img").wait_for()
    time.sleep(1)
    page.locator("#map").screenshot(path=FOLDER / "page-map.png")
    page.screenshot(path=FOLDER / "page-dark.png", clip=clip(1100, 1000), full_page=True)


def merge_first(folder: Path, environment: dict[str, str]) -> None:
    """Make and push the merge whose card is shown."""
    for command in FIRST:
        subprocess.run([*COMMAND, *command], cwd=folder, env=environment, check=True)


def take_card(browser: Browser, address: str) -> None:
    """The upper half of the card as the local Hub shows it."""
    page = browser.new_page(viewport={"width": 860, "height": 1150})
    page.goto(address)
    page.locator("main img").last.wait_for()
    page.screenshot(path=FOLDER / "card.png", clip=clip(860, 1390), full_page=True)


def visit(browser: Browser, url: str, width: int, height: int, *, dark: bool = False) -> Page:
    """A page whose plan is there."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    context.set_default_timeout(LONGEST)
    page = context.new_page()
    page.goto(url)
    page.locator("#decision h2").wait_for()
    page.locator("#merge").wait_for()
    time.sleep(2)  # until nothing moves any more
    return page


def clip(width: int, height: int) -> FloatRect:
    """From the top left corner."""
    return {"x": 0, "y": 0, "width": width, "height": height}


if __name__ == "__main__":
    main()
