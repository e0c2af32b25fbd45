"""The parts of the API that only Spaces have."""

import pytest
from huggingface_hub import HfApi


@pytest.fixture
def space(api: HfApi, org: str) -> str:
    return api.create_repo(f"{org}/app", repo_type="space", space_sdk="gradio").repo_id


def test_a_space_is_described_by_its_card(api: HfApi, space: str) -> None:
    card = b"---\ntitle: T\nsdk: gradio\nmodels: [org/m]\ntags: [demo]\n---\n"
    assert api.space_info(space).sdk == "gradio"
    api.upload_file(
        path_or_fileobj=card, path_in_repo="README.md", repo_id=space, repo_type="space"
    )
    info = api.space_info(space)
    assert (info.sdk, info.models, info.tags) == ("gradio", ["org/m"], ["demo"])
    assert [space_info.id for space_info in api.list_spaces(author=space.split("/")[0])] == [space]


def test_a_space_is_never_running(api: HfApi, space: str) -> None:
    assert api.get_space_runtime(space).stage == "STOPPED"


def test_variables_and_secrets(api: HfApi, space: str) -> None:
    api.add_space_variable(space, "KEY", "value", description="why")
    assert api.get_space_variables(space)["KEY"].value == "value"
    api.add_space_secret(space, "TOKEN", "hidden")
    assert list(api.get_space_secrets(space)) == ["TOKEN"]
    api.delete_space_variable(space, "KEY")
    api.delete_space_secret(space, "TOKEN")
    assert api.get_space_variables(space) == {} and api.get_space_secrets(space) == {}
