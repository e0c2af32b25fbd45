"""probes publish: the prompts in the package as data sets on the Hub."""

from simmerge_hub.cli import show


def publish(*, namespace: str, private: bool) -> None:
    """`simmerge-hub probes publish`."""
    from simmerge_hub.publishing.probes import publish_probes

    with show.status(f"publishing to {namespace}") as say:
        commits = publish_probes(namespace, private=private, progress=lambda done: say(done.repo))
    for commit in commits:
        show.note(f"{commit.repo} {commit.oid[:12]}")
