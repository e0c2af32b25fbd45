"""The pictures in docs/pictures: `python docs/pictures.py` starts a Hub, and takes them.

They are of the page, of a plan in a terminal, of cards as the Hub shows them (of the merge of
docs/tutorial/first-merge.md, and of a Space), and of this documentation. Names of some
(`page terminal card space docs`) take only those.

Needs chromium (`apt-get install chromium`) and the extras `dev` and `docs`.
"""

import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from simmerge_hub.localhub import running

FOLDER = Path(__file__).parent / "pictures"
COMMAND = [sys.executable, "-m", "simmerge_hub.cli.main"]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PAIR = "?models=nano/code,nano/math"
MERGED = "nano/math-multilingual"
PLAN = ("plan", "nano/math", "nano/multilingual", "-o", "plan.yaml")
FIRST = (
    ("merge", "plan.yaml", "-o", "merged"),
    ("push", "merged", MERGED),
)
"""Commands of docs/tutorial/first-merge.md, after the plan."""
SPACE = "nano/merge-two-models"
COLUMNS, ROWS = 80, 24
DARK = TerminalTheme(
    (24, 26, 31), (222, 224, 228),
    [(60, 64, 72), (240, 113, 120), (140, 208, 110), (235, 195, 100), (110, 170, 250),
     (200, 140, 240), (95, 205, 215), (222, 224, 228)],
)  # fmt: skip
TERMINAL = """<!DOCTYPE html><meta charset="utf-8"><style>
body {{margin: 0; background: {background}}}
pre {{width: 80ch; min-height: calc(24 * 1.3em); margin: 0; padding: 14px 18px;
  font: 14px/1.3 "DejaVu Sans Mono", monospace; color: {foreground}; background: {background}}}
</style><pre>{code}</pre>"""
THREE = "?models=nano/code,nano/math,nano/multilingual"
LONGEST = 300_000
"""Milliseconds that a plan may take."""


def main() -> None:
    """Take all of them, or those that are named."""
    wanted = sys.argv[1:] or list(TAKEN)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "hub") as hub:
        known = {**os.environ, **hub.environment(), "PYTHONUNBUFFERED": "1"}
        subprocess.run([*COMMAND, "zoo", "publish", "nano"], env=known, check=True)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name in wanted:
                TAKEN[name](browser, Work(Path(folder), known, hub.endpoint))


@dataclass(frozen=True, slots=True)
class Work:
    """Where pictures are made: a folder, the environment of commands, and the Hub's address."""

    folder: Path
    environment: dict[str, str]
    hub: str

    def run(self, *command: str) -> None:
        """One command of simmerge-hub, in the folder."""
        subprocess.run([*COMMAND, *command], cwd=self.folder, env=self.environment, check=True)


@contextmanager
def serving(command: list[str], work: Work) -> Iterator[str]:
    """What a command serves until the picture is taken: the address, its first line."""
    server = subprocess.Popen(command, env=work.environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(30)


def take_page(browser: Browser, work: Work) -> None:
    """The page: desktop, phone, dark."""
    with serving([*COMMAND, "ui"], work) as address:
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


def take_terminal(browser: Browser, work: Work) -> None:
    """A plan as a terminal of 80 × 24 shows it."""
    work.run(*PLAN)  # what is computed once is not computed again
    wide = {
        **work.environment,
        "FORCE_COLOR": "1",
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color",
    }
    done = subprocess.run(
        [*COMMAND, *PLAN], cwd=work.folder, env=wide, capture_output=True, text=True, check=True
    )
    typed = f"$ simmerge-hub {' '.join(PLAN)}"
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"{typed}\n{done.stdout.rstrip()}\n$ "), end="")
    html = console.export_html(theme=DARK, code_format=TERMINAL, inline_styles=True)
    assert len(console.export_text(clear=False).splitlines()) <= ROWS
    page = browser.new_page(viewport={"width": 900, "height": 700}, device_scale_factor=2)
    page.set_content(html)
    page.locator("pre").screenshot(path=FOLDER / "terminal.png")


def take_card(browser: Browser, work: Work) -> None:
    """The upper half of the card as the local Hub shows it."""
    for command in (PLAN, *FIRST):
        work.run(*command)
    page = browser.new_page(viewport={"width": 860, "height": 1150})
    page.goto(f"{work.hub}/{MERGED}")
    page.locator("main img").last.wait_for()
    page.screenshot(path=FOLDER / "card.png", clip=clip(860, 1390), full_page=True)


def take_space(browser: Browser, work: Work) -> None:
    """The page of the page as a Space."""
    work.run("space", SPACE)
    page = browser.new_page(viewport={"width": 860, "height": 600})
    page.goto(f"{work.hub}/spaces/{SPACE}")
    page.screenshot(path=FOLDER / "space.png", full_page=True)


def take_docs(browser: Browser, work: Work) -> None:
    """The first page of this documentation."""
    site = work.folder / "site"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "-d", str(site)],
        cwd=FOLDER.parent.parent, env={**work.environment, "NO_MKDOCS_2_WARNING": "1"}, check=True,
    )  # fmt: skip
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/index.html")
        page.locator("h1").wait_for()
        page.screenshot(path=FOLDER / "docs.png")
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


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


TAKEN = {
    "page": take_page,
    "terminal": take_terminal,
    "card": take_card,
    "space": take_space,
    "docs": take_docs,
}

if __name__ == "__main__":
    main()
