"""probes publish: the prompts in the package as data sets on the Hub."""

from typing import Any

from simmerge_hub.cli import arguments, show


def options(commands: Any) -> None:
    """Add `simmerge-hub probes publish`."""
    verbs = arguments.group(commands, "probes", "publish our probe prompts")
    command = arguments.command(
        verbs, "publish", publish, "push our prompts of five domains as data sets"
    )
    command.add_argument("namespace", metavar="ORG", help="where to push them")
    command.add_argument("--private", action="store_true", help="if a data set is new")


def publish(*, namespace: str, private: bool) -> None:
    """`simmerge-hub probes publish`."""
    from simmerge_hub.publishing.probes import publish_probes

    with show.status(f"publishing to {namespace}") as say:
        commits = publish_probes(
            namespace, private=private, progress=lambda commit: say(commit.repo)
        )
    for commit in commits:
        show.note(f"{commit.repo} {commit.oid[:12]}")
