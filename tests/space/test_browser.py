"""What a person does with the page, in a real browser: from two names to a pushed merge."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from huggingface_hub import HfApi, ModelCard, snapshot_download

from simmerge_hub.localhub import Hub
from tests.pages import COMMAND, GUEST, MODELS, environment, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}"


def test_from_two_names_to_a_pushed_merge(page_hub: Hub, address: str, visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit(address)
    field = page.locator("#models input")
    for typed, name in (("nano/co", "nano/code"), ("MATH", "nano/math")):
        field.press_sequentially(typed, delay=30)
        page.get_by_role("option", name=name).click()
    field.press("Escape")
    page.locator("#plan").click()
    page.locator("#decision h2").wait_for()
    expect(page.locator("#decision h2")).to_contain_text("code + math")
    expect(page.locator(".sm-chart > ol > .sm-chosen")).to_have_count(1)
    expect(page.locator("#fits")).to_contain_text("✓ nano/math")
    for tab, told, said in (
        ("Licence", "#licences", "apache-2.0"),
        ("Cost", "#costs", "to download"),
        ("Similarity", "#map", "Every pair"),
        ("Card", "#card", "Predicted utilities"),
    ):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(told)).to_contain_text(said)
    with page.expect_download() as download:
        page.get_by_text("Download plan.yaml").click()
    assert "why:" in Path(download.value.path()).read_text()
    page.locator("#merge").click()
    expect(page.locator("#merge-status")).to_contain_text("Merged")
    page.locator("#repo").get_by_role("textbox").fill("nano/from-page")
    page.locator("#push").click()
    expect(page.locator("#pushed")).to_contain_text("Pushed in one commit")
    api = HfApi(endpoint=page_hub.endpoint, token=page_hub.token)
    names = {file.rfilename for file in api.model_info("nano/from-page").siblings or ()}
    assert {"README.md", "config.json", "model.safetensors", "simmerge.yaml"} <= names


def test_a_link_plans_and_a_corrected_expert_plans_again(address: str, visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit(f"{address}/?models=nano/code,nano/math")
    page.locator("#decision h2").wait_for()
    page.get_by_text("Who is good at what").click()
    page.locator(".sm-expert", has_text="Best at math").get_by_label("not a goal").check()
    page.locator("#plan").click()
    expect(page.locator(".sm-chart h3")).to_contain_text("(code)")
    link = page.get_by_text("Link to this plan").get_attribute("href")
    assert link == "?models=nano/code,nano/math&tasks=code:nano/code"


def test_three_models_on_a_phone_in_the_dark_by_keyboard(address: str, visit: Visit) -> None:
    """And their merge tree; and it is stopped, and begun again."""
    from playwright.sync_api import expect

    page = visit(f"{address}/?models={','.join(MODELS)}", width=390, height=844, dark=True)
    page.locator("#stop").wait_for()
    page.locator("#stop").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Stopped")
    page.locator("#plan").focus()
    page.keyboard.press("Enter")
    page.locator("#decision h2").wait_for()
    page.get_by_alt_text(re.compile("^Merge tree: .+ gives the merge")).wait_for()
    page.locator("#merge").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, colour.strip("rgba()").split(",")[:3])) < 60


def test_errors_are_ours_and_text_of_others_is_text(
    page_hub: Hub, address: str, visit: Visit, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    api = HfApi(endpoint=page_hub.endpoint, token=page_hub.token)
    api.create_repo("nano/hostile", exist_ok=True)
    snapshot_download("nano/math", local_dir=tmp_path, endpoint=page_hub.endpoint)
    card = ModelCard((tmp_path / "README.md").read_text())
    text = str(card).replace("license: apache-2.0", f"license: '{HOSTILE}'")
    assert HOSTILE in text
    (tmp_path / "README.md").write_text(text)
    api.upload_folder(repo_id="nano/hostile", folder_path=tmp_path)
    page = visit(f"{address}/?models=nano/code,{quote(HOSTILE)}")
    expect(page.locator(".sm-error")).to_contain_text("neither a folder here nor a repository")
    expect(page.locator(".sm-error")).to_contain_text("What to do: write org/name")
    expect(page.locator("#status")).to_contain_text(HOSTILE)
    page = visit(f"{address}/?models=nano/code,nano/hostile")
    page.locator("#decision h2").wait_for()
    for tab, told in (("Licence", "#licences"), ("Card", "#card")):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(told)).to_contain_text("onerror=alert(1)")
        assert page.locator(f"{told} img").count() == 0


def test_a_space_is_published_and_pushes_as_who_is_signed_in(
    page_hub: Hub, visit: Visit, tmp_path: Path
) -> None:
    """What `simmerge-hub space` publishes is downloaded and run as a Space runs it."""
    from playwright.sync_api import expect

    publish = [*COMMAND, "space", "nano/merge"]
    subprocess.run(publish, env=environment(page_hub), check=True, capture_output=True)
    api = HfApi(endpoint=page_hub.endpoint, token=page_hub.token)
    assert api.space_info("nano/merge").sdk == "gradio"
    snapshot_download(
        "nano/merge", repo_type="space", local_dir=tmp_path, endpoint=page_hub.endpoint
    )
    run = [sys.executable, "-W", "ignore", "app.py"]
    with serving(run, environment(page_hub, PYTHONPATH=str(tmp_path)), tmp_path) as where:
        page = visit(f"{where}/?models=nano/code,/etc")
        expect(page.locator(".sm-error")).to_contain_text("'/etc' is no repository on the Hub")
        page.get_by_role("button", name="Sign in with Hugging Face").click()
        page.get_by_role("button", name="Logout").wait_for()
        page.goto(f"{where}/?models=nano/code,nano/math")
        page.locator("#merge").click()
        expect(page.locator("#merge-status")).to_contain_text("Merged")
        page.locator("#repo").get_by_role("textbox").fill(f"{GUEST}/merged")
        page.locator("#push").click()
        expect(page.locator("#pushed")).to_contain_text("Pushed in one commit")
    assert api.model_info(f"{GUEST}/merged").author == GUEST
