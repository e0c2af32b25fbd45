"""ui and space: the page here, or as a Space."""

import threading
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from simmerge_hub.cli import arguments, show
from simmerge_hub.errors import MissingExtra


def options(commands: Any) -> None:
    """Add `simmerge-hub ui` and `simmerge-hub space`."""
    command = arguments.command(commands, "ui", ui, "plan, merge and push in a browser")
    command.add_argument("--port", type=arguments.positive, help="default: a free one from 7860 on")
    command = arguments.command(
        commands, "space", space, "publish the page as a Space, in one commit"
    )
    command.add_argument("repo_id", metavar="SPACE", help="org/name; made if it is new")
    arguments.publishing(command)
    arguments.json(command)


def ui(*, port: int | None) -> None:
    """`simmerge-hub ui`: until it is interrupted."""
    _demand_gradio()
    with show.status("starting"):
        from simmerge_hub.space.app import launch

        page, address = launch(port=port)
    show.line(address)
    show.note("open it in a browser; stop it with Ctrl-C")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        show.note("stopped")
    finally:
        page.close(verbose=False)


def space(*, repo_id: str, as_json: bool, **settings: Any) -> None:
    """`simmerge-hub space`; `settings` are those of `publish_space`."""
    _demand_gradio()
    from simmerge_hub.space.publish import publish_space

    commit = publish_space(repo_id, **settings)
    if as_json:
        show.data(asdict(commit))
    else:
        show.commit(commit)


def _demand_gradio() -> None:
    """MissingExtra unless it is installed."""
    if find_spec("gradio") is None:
        raise MissingExtra(
            "the page is built with gradio, which is not installed",
            hint="pip install 'simmerge-hub[space]'",
        )
