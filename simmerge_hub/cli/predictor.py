"""predictor push."""

from dataclasses import asdict

from simmerge_hub.cli import show


def push(*, file: str, repo_id: str, private: bool, create_pr: bool, as_json: bool) -> None:
    """`simmerge-hub predictor push`."""
    from simmerge_hub.publishing.predictors import push_predictor

    with show.status("publishing"):
        commit = push_predictor(file, repo_id, private=private, create_pr=create_pr)
    if as_json:
        show.data(asdict(commit))
        return
    show.note(f"pushed in one commit, {commit.oid[:12]}: {commit.url}")
