"""The page, put together and served. Everything that is computed or said is the library's.

Here a visitor may name folders, and pushes with the token of the environment. On a Space a visitor
names repositories only, and pushes as who they are signed in as.
"""

import logging
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
from gradio.themes import Base, Default

from simmerge_hub.space import fields
from simmerge_hub.space.merges import Merges
from simmerge_hub.space.plans import Plans
from simmerge_hub.space.search import Search
from simmerge_hub.version import __version__

TITLE = "Merge models"
INTRODUCTION = (
    "Predicts which merge of fine-tuned models keeps most of their skills, from published "
    "signatures and a few byte ranges. Nothing is merged or evaluated for a plan."
)
FOOT = (
    f"simmerge-hub {__version__}. A plan is a prediction: evaluate a merge before you rely on it."
)
STYLE = Path(__file__).with_name("style.css")
FONTS = ["system-ui", "sans-serif"]
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Where the Hub's client finds a token; visitors shall read what is public, and no more."""
PLANS_AT_ONCE, MERGES_AT_ONCE, PUSHES_AT_ONCE, WAITING = 2, 1, 2, 32


def build(*, space: bool = False) -> gr.Blocks:
    """The page, not yet served.

    Args:
        space: whether strangers use it: no folders of this machine, and pushes only with the token
            of who is signed in.
    """
    with gr.Blocks(title="simmerge-hub", analytics_enabled=False) as page:
        with gr.Row(elem_classes="sm-head"):
            gr.Markdown(f"# {TITLE}\n\n{INTRODUCTION}", **fields.MARKDOWN)
            if space:
                gr.LoginButton(scale=0, min_width=220)
        asked, told, done = fields.ask(), fields.told(), fields.do()
        gr.Markdown(FOOT, elem_classes="sm-foot", **fields.MARKDOWN)
        plans, merges = Plans(asked, told, done, folders=not space), Merges(done)
        _connect_plans(page, plans)
        _connect_merges(plans, merges, space=space)
    page.queue(max_size=WAITING)
    return page


def _connect_plans(page: gr.Blocks, plans: Plans) -> None:
    asked, told = plans.asked, plans.told
    how: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    asked.models.key_up(
        Search().find, asked.models, asked.models, trigger_mode="multiple", queue=False, **how
    )
    states = [plans.answer, plans.question, plans.filled]
    everything = [c for part in (asked, told, plans.done) for c in fields.components(part)]
    ask: dict[str, Any] = {
        "inputs": [*asked.values, *asked.experts, plans.filled, plans.question],
        "outputs": [*everything, *states],
        "concurrency_limit": PLANS_AT_ONCE,
        "concurrency_id": "plan",
        **how,
    }
    clicked = asked.plan.click(plans.plan, **ask)
    loaded = page.load(plans.open, None, [*fields.components(asked), plans.question], **how)
    linked = loaded.then(plans.plan_linked, **ask)
    drawn = [each.success(plans.draw, plans.answer, told.map, **how) for each in (clicked, linked)]
    stopped = asked.stop.click(
        plans.stop, None, [asked.status, asked.plan, asked.stop], queue=False,
        cancels=[clicked, linked, *drawn], **how,
    )  # fmt: skip
    stopped.then(plans.say_stopped, None, [asked.status], queue=False, **how)


def _connect_merges(plans: Plans, merges: Merges, *, space: bool) -> None:
    done = merges.done
    how: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    minimal: dict[str, Any] = {**how, "show_progress": "minimal"}
    ran = done.merge.click(
        merges.merge, [plans.answer, merges.folder], [*fields.components(done), merges.folder],
        concurrency_limit=MERGES_AT_ONCE, **how,
    )  # fmt: skip
    stopped = done.stop.click(
        merges.stop, None, [done.status, done.merge, done.stop], queue=False, cancels=[ran], **how
    )
    stopped.then(merges.say_stopped, None, [done.status], queue=False, **how)
    done.push.click(
        merges.push_signed_in if space else merges.push,
        [merges.folder, done.repo, done.proposal, done.private, done.license], [done.pushed],
        concurrency_limit=PUSHES_AT_ONCE, **minimal,
    )  # fmt: skip


def launch(*, port: int | None = None, space: bool = False) -> tuple[gr.Blocks, str]:
    """Serve the page in the background; returns it and its address.

    Args:
        port: a free one from 7860 on by default.
        space: whether it is a Space, which says itself where it listens.
    """
    for name in ("httpx", "gradio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    page = build(space=space)
    _, address, _ = page.launch(
        server_name=None if space else "127.0.0.1",
        server_port=port,
        theme=_theme(),
        css_paths=STYLE,
        footer_links=[],
        share=False,
        inbrowser=False,
        quiet=not space,
        prevent_thread_lock=True,
        ssr_mode=False,
        mcp_server=False,
    )
    return page, address


def _theme() -> Base:
    """Fonts of the reader's machine: none is fetched; small print that can be read."""
    theme = Default(primary_hue="indigo", font=FONTS, font_mono=["ui-monospace", "monospace"])
    dim = {"light": "*neutral_600", "dark": "*neutral_300"}
    return theme.set(
        body_text_color_subdued=dim["light"],
        body_text_color_subdued_dark=dim["dark"],
        block_info_text_color=dim["light"],
        block_info_text_color_dark=dim["dark"],
    )


def _forget_tokens() -> None:
    for name in TOKENS:
        os.environ.pop(name, None)


def serve_space() -> None:
    """What app.py of a Space runs, until the Space ends; no token of its owner is used."""
    if os.environ.get("SPACE_ID"):
        _forget_tokens()
    page, _ = launch(space=True)
    _forget_tokens()  # where it is no Space, gradio signs in with one, and has by now
    page.block_thread()
