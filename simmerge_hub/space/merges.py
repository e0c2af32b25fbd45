"""What the lower part of the page does: merge on this machine, push, stop.

A merge lies in a folder of its own until the visitor leaves.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import sleep

import gradio as gr

from simmerge_hub.errors import HubError, SimmergeError
from simmerge_hub.publishing.verbs import merge, push
from simmerge_hub.space import sections, work
from simmerge_hub.space.answer import Answer
from simmerge_hub.space.fields import Do, Updates
from simmerge_hub.units import spell_bytes

SAID = {
    "commit": "Pushed in one commit",
    "pull request": "Proposed in a pull request",
    "unchanged": "All of it is there already",
}
ON_THE_PAGE = {
    "--license": "ask the authors, then choose one under Licence",
    "with write access": "name a repository that is yours, or propose it in a pull request",
}
"""An option in a hint -> what to do here, where there are fields and no options."""
REMOVALS = 20
"""How often a folder is tried to be deleted."""
log = logging.getLogger(__name__)


class Merges:
    """The functions of the lower part; what belongs to a visitor is handed to them."""

    def __init__(self, done: Do) -> None:
        self.done = done
        self.folder = gr.State("", time_to_live=4 * 3600, delete_callback=remove)
        self.desk = work.Desk()

    def merge(self, request: gr.Request, made: Answer | None, folder: str) -> Iterator[Updates]:
        """Run the recipe, with what is being done meanwhile."""
        done = self.done
        if made is None:
            yield {done.status: sections.error_box(SimmergeError("there is no plan yet")).text}
            return
        remove(folder)
        place = make_folder()
        stop = self.desk.begin(str(request.session_hash))
        yield self._begin()
        merged = False
        try:
            for step in work.run(partial(_merge, made, place), stop):
                if isinstance(step, work.Doing):
                    yield {done.status: sections.status_line(step.what, step.seconds).text}
                else:
                    merged = True
                    yield {**self._finish(step.result), self.folder: str(place)}
        except work.Stopped:  # who stopped it has said so, or began anew: the page is theirs
            return
        except (SimmergeError, OSError) as error:
            yield {**self._idle(), done.status: sections.error_box(_ours(error)).text}
        finally:
            if not merged:
                remove(str(place))

    def stop(self, request: gr.Request) -> Updates:
        """Stop the visitor's merge."""
        self.desk.stop(str(request.session_hash))
        return {**self._idle(), self.done.status: sections.status_line("Stopped").text}

    def say_stopped(self, request: gr.Request) -> Updates:
        """Once more, after words that were on their way when it was stopped."""
        stopped = self.desk.stays_stopped(str(request.session_hash))
        return {self.done.status: sections.status_line("Stopped").text if stopped else gr.update()}

    def push(
        self, folder: str, repo: str, proposal: bool, private: bool, licence: str | None
    ) -> Updates:
        """Push the merge with the token of this machine."""
        return self._push(folder, repo, proposal, private, licence, None)

    def push_signed_in(
        self,
        folder: str,
        repo: str,
        proposal: bool,
        private: bool,
        licence: str | None,
        token: gr.OAuthToken | None,
    ) -> Updates:
        """Push the merge as who is signed in, and as nobody else."""
        if token is None:
            error = HubError("you are not signed in", hint="sign in at the top of the page")
            return {self.done.pushed: sections.error_box(error).text}
        return self._push(folder, repo, proposal, private, licence, token.token)

    def _push(
        self,
        folder: str,
        repo: str,
        proposal: bool,
        private: bool,
        licence: str | None,
        token: str | None,
    ) -> Updates:
        pushed = self.done.pushed
        try:
            if not folder:
                raise SimmergeError("nothing is merged yet", hint="merge here first")
            commit = push(
                Path(folder, "merged"), repo.strip(), create_pr=proposal, private=private,
                license=(licence or "").strip() or None, token=token,
            )  # fmt: skip
        except (SimmergeError, OSError) as error:
            return {pushed: sections.error_box(_on_the_page(_ours(error))).text}
        return {pushed: sections.pushed(commit.url, SAID[commit.outcome]).text}

    def _begin(self) -> Updates:
        done = self.done
        return {
            done.merge: gr.update(interactive=False),
            done.stop: gr.update(visible=True),
            done.push: gr.update(interactive=False),
            done.status: sections.status_line("starting", 0.0).text,
            done.pushed: "",
            self.folder: "",
        }

    def _idle(self) -> Updates:
        done = self.done
        return {done.merge: gr.update(interactive=True), done.stop: gr.update(visible=False)}

    def _finish(self, said: str) -> Updates:
        done = self.done
        return {
            **self._idle(),
            done.status: sections.status_line(said).text,
            done.repo: gr.update(interactive=True),
            done.push: gr.update(interactive=True),
        }


_folders: set[Path] = set()
"""What was merged here and is not removed yet."""


def make_folder() -> Path:
    """A new folder for a merge, which lasts until `remove` or `clear`."""
    place = Path(tempfile.mkdtemp(prefix="simmerge-page-"))
    _folders.add(place)
    return place


def clear() -> None:
    """Delete all folders of merges: the page is closed."""
    for place in list(_folders):
        remove(str(place))


def remove(folder: str) -> None:
    """Delete what was merged into a folder of ours, if anything."""
    if not folder:
        return
    for _ in range(REMOVALS):  # a merge that is being stopped may still write into it
        shutil.rmtree(folder, ignore_errors=True)
        if not Path(folder).exists():
            break
        sleep(0.1)
    _folders.discard(Path(folder))


def _merge(made: Answer, place: Path, say: work.Say) -> str:
    """Merge, and say in a line what came of it."""

    def tell(tensor: str, done: int, total: int) -> None:
        say(f"merging: {done} of {total} tensors")

    say("reading headers")
    report = merge(made.plan, place / "merged", progress=tell)
    return (
        f"Merged: {report.tensors} tensors, {spell_bytes(report.size)} in {report.seconds:.1f} s. "
        "Name a repository and push it."
    )


def _ours(error: SimmergeError | OSError) -> SimmergeError:
    """Without the path of this machine that an OSError names."""
    return error if isinstance(error, SimmergeError) else SimmergeError(
        error.strerror or type(error).__name__, hint="free some disk, and try again"
    )  # fmt: skip


def _on_the_page(error: SimmergeError) -> SimmergeError:
    """The error with what to do about it here."""
    for option, here in ON_THE_PAGE.items():
        if option in error.hint:
            return type(error)(str(error), hint=here)
    return error
