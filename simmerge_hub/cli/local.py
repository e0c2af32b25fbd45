"""What serves: localhub; the demo, the whole chain on nano models; the page, here or as a Space."""

import os
import signal
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from simmerge_hub.cli import arguments, results, show
from simmerge_hub.errors import HubError, MissingExtra, RequestError

MODELS = ("nano/math", "nano/multilingual")
"""The pair of packaged models whose merge answers most: benchmarks/demo_pairs.json has them all."""
TASKS = ("math", "multilingual")
MERGED = "nano/math-multilingual"
QUESTIONS = 10
"""Prompts of each task the demo asks; the first is shown, all are counted."""


def options(commands: Any) -> None:
    """Add `simmerge-hub localhub`, `demo`, `ui` and `space`."""
    command = arguments.command(commands, "localhub", localhub, "serve a Hub on this machine only")
    command.add_argument("--dir", required=True, metavar="DIR", help="where its state is kept")
    command.add_argument("--port", type=int, default=0, help="default: a free one")
    command.add_argument(
        "--idle", type=float, metavar="SECONDS", help="stop after so long without a request"
    )
    command = arguments.command(
        commands, "demo", demo, "the whole chain on nano models and a local Hub"
    )
    command.add_argument("--dir", metavar="DIR", help="keep the Hub and the merge in this folder")
    command = arguments.command(commands, "ui", ui, "plan, merge and push in a browser")
    command.add_argument("--port", type=arguments.port, help="default: a free one from 7860 on")
    command = arguments.command(
        commands, "space", space, "publish the page as a Space, in one commit"
    )
    command.add_argument("repo_id", metavar="SPACE", help="org/name; made if it is new")
    arguments.publishing(command)
    arguments.json(command)


def localhub(*, dir: str, port: int, idle: float | None) -> None:
    """`simmerge-hub localhub`."""
    from simmerge_hub.localhub import LocalhubError, serve

    _demand_server()
    try:
        serve(dir=dir, port=port, idle=idle)
    except LocalhubError as error:
        raise HubError(str(error)) from error


def demo(*, dir: str | None) -> None:
    """`simmerge-hub demo`: publish, plan, merge, push, read the card, ask."""
    from simmerge_hub.localhub import LocalhubError, running

    _demand_server()
    with ExitStack() as stack:
        kept = dir or stack.enter_context(tempfile.TemporaryDirectory(prefix="simmerge-demo-"))
        folder = Path(kept)
        try:
            hub = stack.enter_context(running(folder / "hub"))
        except LocalhubError as error:
            raise HubError(str(error)) from error
        # before the first import of huggingface_hub, which reads them once
        os.environ.update(hub.environment(), HF_HUB_DISABLE_PROGRESS_BARS="1")
        _chain(folder)
        if dir:
            show.note(f"\nThe Hub's state is kept: simmerge-hub localhub --dir {folder / 'hub'}")


def _chain(folder: Path) -> None:
    from simmerge_hub.cli import plan, trust, verbs, zoo

    file, merged = folder / "plan.yaml", folder / "merged"
    _step("a Hub on this machine; nano specialists with scores on their cards")
    _say("simmerge-hub zoo publish nano")
    zoo.publish(namespace="nano", folder=None)
    _step("predict: two specialists, no merge and no evaluation")
    _say(f"simmerge-hub plan {' '.join(MODELS)} -o plan.yaml")
    plan.run(models=MODELS, output=str(file))
    _step("merge once, streaming")
    _say("simmerge-hub merge plan.yaml -o merged")
    verbs.merge(recipe=str(file), output=str(merged), as_json=False, overwrite=True)
    _step("push weights and card in one commit")
    _say(f"simmerge-hub push merged {MERGED}")
    trust.push(folder=str(merged), repo_id=MERGED, as_json=False)
    _step(f"the card of {MERGED}, as it stands on the Hub")
    _card()
    _step("prompts of each parent's domain, asked of models loaded from the Hub")
    _ask()


def _card() -> None:
    from simmerge_hub.hub.files.cached import local_file
    from simmerge_hub.hub.resolve import ModelRef, resolve_files

    location, _ = resolve_files(ModelRef.parse(MERGED))
    results.card(local_file(location, "README.md").read_text(encoding="utf-8"))


def _ask() -> None:
    from simmerge_hub.cli.zoo import nano_folder
    from simmerge_hub.zoo.answers import answers, questions
    from simmerge_hub.zoo.manifest import load_manifest

    tasks = load_manifest(nano_folder()).tasks
    prompts = [question for name in TASKS for question in questions(name, tasks[name], QUESTIONS)]
    with show.status("asking"):
        by_model = answers([*MODELS, MERGED], prompts)
    results.answers(prompts, by_model)


def _step(text: str) -> None:
    """A rule with what comes now; in a line of its own where that is too long for one."""
    if len(text) + 4 <= show.OUT.width:
        show.OUT.rule(f"[bold]{text}")
    else:
        show.OUT.rule()
        show.line(show.styled(text, "bold"), hang=0)


def _say(command: str) -> None:
    show.OUT.print(f"$ {command}", style="cyan", highlight=False)


def ui(*, port: int | None) -> None:
    """`simmerge-hub ui`: until it is interrupted or told to end; what it merged is deleted then."""
    _demand_gradio()
    with show.status("starting"):
        from simmerge_hub.space.app import launch
        from simmerge_hub.space.merges import clear

        try:
            page, address = launch(port=port)
        except OSError as error:
            busy = f"port {port}" if port else "any port from 7860 on"
            raise RequestError(
                f"cannot listen on {busy}: in use, or not for this account",
                hint="choose another --port",
            ) from error
    ended = signal.signal(signal.SIGTERM, signal.default_int_handler)
    show.line(address)
    show.note("open it in a browser; stop it with Ctrl-C")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        show.note("stopped")
    finally:
        signal.signal(signal.SIGTERM, ended)
        page.close(verbose=False)
        clear()


def space(*, repo_id: str, as_json: bool, **settings: Any) -> None:
    """`simmerge-hub space`; `settings` are those of `publish_space`."""
    _demand_gradio()
    from simmerge_hub.space.publish import publish_space

    commit = publish_space(repo_id, **settings)
    if as_json:
        show.data(asdict(commit))
    else:
        show.commit(commit)


def _demand_server() -> None:
    """MissingExtra unless what localhub serves with is installed."""
    missing = [name for name in ("starlette", "uvicorn", "lz4") if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"a Hub on this machine is served with {' and '.join(missing)}, not installed",
            hint="pip install 'simmerge-hub[localhub]'",
        )


def _demand_gradio() -> None:
    """MissingExtra unless it is installed."""
    if find_spec("gradio") is None:
        raise MissingExtra(
            "the page is built with gradio, which is not installed",
            hint="pip install 'simmerge-hub[space]'",
        )
