"""A Hub of its own, the page and the Space served against it, and a real browser."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from simmerge_hub.localhub import Hub, running
from tests.pages import COMMAND, GUEST, MOCK_TOKEN, WAIT, environment, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def page_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub with the nano models, and a guest who is signed in on a Space."""
    with running(tmp_path_factory.mktemp("page") / "hub", tokens={GUEST: MOCK_TOKEN}) as hub:
        done = [*COMMAND, "zoo", "publish", "nano"]
        subprocess.run(done, env=environment(hub), check=True, capture_output=True)
        yield hub


@pytest.fixture(scope="session")
def address(page_hub: Hub) -> Iterator[str]:
    """Of the page, as `simmerge-hub ui` serves it."""
    with serving([*COMMAND, "ui"], environment(page_hub)) as where:
        yield where


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium; a machine that runs CI must have it."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None and "CI" not in os.environ:
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens a page as a new visitor; whatever fails in the browser fails the test."""
    contexts, failures = [], []

    def open_page(url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> "Page":
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("dialog", lambda dialog: failures.append(f"a dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: (
                failures.append(f"asks {request.url}")
                if not request.url.startswith(("http://127.0.0.1", "data:", "blob:"))
                else None
            ),
        )
        page.goto(url)
        page.locator("#plan").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not failures
