"""The page as a Space: its files, and one commit of them.

A Space installs what requirements.txt names, and then runs app.py beside a copy of this package, so
that it is of the same version as the machine it was published from.
"""

import os
import re
import shutil
from importlib.metadata import requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import simmerge_hub
from simmerge_hub.recipe import dump_yaml
from simmerge_hub.version import __version__

if TYPE_CHECKING:
    from simmerge_hub.hub.upload.publish import Commit

APP = '''\
"""The page of simmerge-hub, as a Space."""

from simmerge_hub.space.app import serve_space

serve_space()
'''
ABOUT = """\
# Merge models

Choose two or more fine-tuned models of one base. The page predicts which merge of them keeps most
of their skills, says how far to believe it, and shows recipe and model card as they would be. Sign
in to push a merge that was made here. It reads published signatures and a few byte ranges; no
weights are downloaded for a plan.

The same page runs on your own machine, where it may also use folders and private models:

```bash
pip install 'simmerge-hub[space]'
simmerge-hub ui
```
"""
NOT_NEEDED = ("__pycache__", "cli", "localhub", "zoo", ".*", "*.env", "*.log", "*.bak", "*.tmp")
"""What of the package's folder a Space never uses, or is not of the package."""
EXTRA = re.compile(r"""extra\s*==\s*['"]map['"]""")
NUMBER = re.compile(r"\[Errno (\d+)\]")
PYTHON = "3.11"


def publish_space(repo_id: str, *, private: bool = False, create_pr: bool = False) -> "Commit":
    """Publish the page in one commit.

    Args:
        repo_id: `org/name` of the Space; created if it does not exist.
        private: for a Space that is created now.
        create_pr: open a pull request instead of committing.

    Raises:
        PushFailed: it was refused; no commit was made.
        HubError: the Hub is not reached, or does not know the token.
    """
    from simmerge_hub.hub.upload.publish import publish_folder

    with TemporaryDirectory(prefix="simmerge-space-") as folder:
        write_space(Path(folder))
        return publish_folder(
            folder,
            repo_id,
            repo_type="space",
            private=private,
            create_pr=create_pr,
            message=f"simmerge-hub {__version__}",
        )


def write_space(folder: Path) -> None:
    """Write the Space's files into an empty folder."""
    front = dump_yaml(front_matter())
    (folder / "README.md").write_text(f"---\n{front}---\n\n{ABOUT}", encoding="utf-8")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    lines = "".join(f"{line}\n" for line in requirements())
    (folder / "requirements.txt").write_text(lines, encoding="utf-8")
    unwanted = shutil.ignore_patterns(*NOT_NEEDED)
    try:
        shutil.copytree(
            Path(simmerge_hub.__file__).parent, folder / "simmerge_hub", ignore=unwanted
        )
    except shutil.Error as error:  # it goes on to the end, and has a line for every file
        (*_, first), *_ = error.args[0]
        number = NUMBER.search(first)
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def front_matter() -> dict[str, Any]:
    """What the Hub is told of the Space (docs/hub/spaces-config-reference)."""
    return {
        "title": "Merge models",
        "emoji": "🔀",
        "colorFrom": "indigo",
        "colorTo": "green",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "python_version": PYTHON,
        "app_file": "app.py",
        "license": "apache-2.0",
        "short_description": "Predict how to merge models, merge them, push them",
        "tags": ["merge", "simmerge"],
        "hf_oauth": True,
        "hf_oauth_scopes": ["write-repos", "manage-repos"],
    }


def requirements() -> list[str]:
    """What the package needs to be installed beside it; the Space brings gradio itself."""
    stated = [line.partition(";") for line in requires("simmerge-hub") or ()]
    return [name.strip() for name, _, when in stated if not when or EXTRA.search(when)]
