"""Repositories as the client creates, finds, changes and removes them."""

import hashlib
import json

import pytest
from huggingface_hub import HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import build_hf_headers, get_session
from huggingface_hub.utils._pagination import paginate
from huggingface_hub.utils.sha import git_hash
from numpy import zeros
from safetensors.numpy import save

SDK = {"model": None, "dataset": None, "space": "gradio"}


@pytest.mark.parametrize("kind", SDK)
def test_create_describe_and_delete(api: HfApi, org: str, kind: str) -> None:
    url = api.create_repo(f"{org}/x", repo_type=kind, space_sdk=SDK[kind])
    assert (url.repo_id, url.repo_type) == (f"{org}/x", kind)
    info = api.repo_info(f"{org}/x", repo_type=kind)
    assert (info.id, info.author, info.private) == (f"{org}/x", org, False)
    assert api.list_repo_files(f"{org}/x", repo_type=kind) == [".gitattributes"]
    api.delete_repo(f"{org}/x", repo_type=kind)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info(f"{org}/x", repo_type=kind)


def test_kinds_do_not_share_names(api: HfApi, repo: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info(repo)


def test_a_name_without_namespace_belongs_to_the_user(api: HfApi, org: str) -> None:
    assert api.create_repo(org).repo_id == f"nano/{org}"


def test_creating_twice_needs_exist_ok(api: HfApi, repo: str) -> None:
    with pytest.raises(HfHubHTTPError) as conflict:
        api.create_repo(repo)
    assert conflict.value.response.status_code == 409
    assert api.create_repo(repo, exist_ok=True).repo_id == repo


def test_deleting_what_is_not_there(api: HfApi, org: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(f"{org}/none")
    api.delete_repo(f"{org}/none", missing_ok=True)


def test_move_keeps_content_and_frees_the_name(api: HfApi, repo: str, org: str) -> None:
    commit = api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo)
    api.move_repo(repo, f"{org}/renamed")
    assert api.model_info(f"{org}/renamed").sha == commit.oid
    assert not api.repo_exists(repo)
    api.create_repo(repo)


def test_move_onto_an_existing_name_is_refused(api: HfApi, repo: str, org: str) -> None:
    api.create_repo(f"{org}/other")
    with pytest.raises(HfHubHTTPError) as conflict:
        api.move_repo(repo, f"{org}/other")
    assert conflict.value.response.status_code == 409
    assert api.repo_exists(repo)


def test_settings_change_visibility_and_gate(api: HfApi, repo: str) -> None:
    api.update_repo_settings(repo, private=True)
    assert api.model_info(repo).private is True
    api.update_repo_settings(repo, private=False, gated="manual")
    info = api.model_info(repo)
    assert (info.private, info.gated) == (False, "manual")
    api.update_repo_settings(repo, gated=False)
    assert api.model_info(repo).gated is False


def test_existence_checks(api: HfApi, repo: str) -> None:
    assert api.repo_exists(repo)
    assert not api.repo_exists(f"{repo}x")
    assert api.revision_exists(repo, "main")
    assert not api.revision_exists(repo, "other")
    assert api.file_exists(repo, ".gitattributes")
    assert not api.file_exists(repo, "nothing")


def test_info_at_a_revision(api: HfApi, repo: str) -> None:
    before = api.model_info(repo).sha
    after = api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo).oid
    assert api.model_info(repo, revision=before).sha == before
    assert api.model_info(repo, revision=after[:10]).sha == after
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="0" * 40)


def test_info_with_files_metadata(api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=b"\0" * 5000, path_in_repo="w.bin", repo_id=repo)
    api.upload_file(path_or_fileobj=b"hi", path_in_repo="a.txt", repo_id=repo)
    files = {
        file.rfilename: file for file in api.model_info(repo, files_metadata=True).siblings or []
    }
    assert files["a.txt"].size == 2 and files["a.txt"].lfs is None
    assert files["a.txt"].blob_id == git_hash(b"hi")
    lfs = files["w.bin"].lfs
    assert lfs is not None and lfs.size == 5000
    assert lfs.sha256 == hashlib.sha256(b"\0" * 5000).hexdigest()


def test_the_card_becomes_metadata_and_tags(api: HfApi, repo: str, org: str) -> None:
    data = ModelCardData(
        base_model=["org/a", "org/b"],
        library_name="transformers",
        license="mit",
        tags=["merge", "simmerge"],
        datasets=["org/data"],
        language="en",
        base_model_relation="merge",
    )
    ModelCard(f"---\n{data.to_yaml()}\n---\n# A merge\n").push_to_hub(repo)
    info = api.model_info(repo)
    assert info.card_data is not None and info.card_data.base_model == ["org/a", "org/b"]
    assert info.library_name == "transformers"
    expected = {"merge", "simmerge", "license:mit", "dataset:org/data", "en", "transformers"}
    expected |= {"base_model:org/a", "base_model:merge:org/a", "base_model:merge:org/b"}
    assert expected <= {*(info.tags or [])}


def test_parameters_are_counted_from_safetensors_headers(api: HfApi, repo: str) -> None:
    api.upload_file(
        path_or_fileobj=save({"w": zeros((3, 4), "float32")}),
        path_in_repo="model.safetensors",
        repo_id=repo,
    )
    for asked in (None, ["safetensors"]):
        safetensors = api.model_info(repo, expand=asked).safetensors  # type: ignore[arg-type]
        assert safetensors is not None
        assert (safetensors.total, safetensors.parameters) == (12, {"F32": 12})


def test_no_file_was_scanned(api: HfApi, repo: str) -> None:
    status = api.model_info(repo, securityStatus=True).security_repo_status
    assert status == {"scansDone": False, "filesWithIssues": []}
    assert api.model_info(repo).security_repo_status is None


def test_library_and_task_are_guessed_from_the_config(api: HfApi, repo: str) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    api.upload_file(
        path_or_fileobj=json.dumps(config).encode(), path_in_repo="config.json", repo_id=repo
    )
    info = api.model_info(repo)
    assert (info.library_name, info.pipeline_tag) == ("transformers", "text-generation")
    assert info.config == config


def test_list_by_author_search_and_filter(api: HfApi, org: str) -> None:
    for name, base in (("alpha", "org/x"), ("beta", "org/y")):
        api.create_repo(f"{org}/{name}")
        ModelCard(f"---\nbase_model: {base}\n---\n").push_to_hub(f"{org}/{name}")
    listed = lambda **how: [info.id for info in api.list_models(author=org, **how)]  # noqa: E731
    assert listed() == [f"{org}/alpha", f"{org}/beta"]
    assert listed(search="ALPH") == [f"{org}/alpha"]
    assert listed(filter="base_model:org/y") == [f"{org}/beta"]
    assert listed(filter=["base_model:org/y", "nothing"]) == []
    assert listed(limit=1) == [f"{org}/alpha"]
    assert listed(sort="created_at") == [f"{org}/beta", f"{org}/alpha"]
    assert listed(gated=True) == []


def test_list_details_come_on_demand(api: HfApi, repo: str, org: str) -> None:
    ModelCard("---\nlicense: mit\n---\n").push_to_hub(repo)
    brief, full = (
        next(iter(api.list_models(author=org))),
        next(iter(api.list_models(author=org, full=True))),
    )
    assert brief.siblings is None and brief.card_data is None
    assert full.siblings and full.card_data and full.card_data.license == "mit"
    assert next(iter(api.list_models(author=org, expand=["sha"]))).sha == full.sha


def test_listing_pages_are_followed(api: HfApi, org: str) -> None:
    for number in range(5):
        api.create_repo(f"{org}/r{number}", repo_type="dataset")
    pages = paginate(
        f"{api.endpoint}/api/datasets", {"author": org, "limit": 2}, build_hf_headers()
    )
    assert [item["id"] for item in pages] == [f"{org}/r{number}" for number in range(5)]


def test_expand_limits_the_answer(api: HfApi, repo: str) -> None:
    info = api.model_info(repo, expand=["lastModified"])
    assert info.last_modified is not None and info.siblings is None


@pytest.mark.parametrize("bad", ["..%2F..", "%2e%2e", "a%2Fb", "%00", ".hidden", "x%5Cy"])
def test_names_cannot_leave_the_storage_folder(api: HfApi, org: str, bad: str) -> None:
    for path in (
        f"/api/models/{org}/{bad}",
        f"/api/models/{bad}/{org}",
        f"/{org}/{bad}/resolve/main/x",
    ):
        answer = get_session().get(f"{api.endpoint}{path}", headers=build_hf_headers())
        assert answer.status_code == 404, path


@pytest.mark.parametrize("name", ["..", "a/b", "a\\b", "", "../../escape", "x.git"])
def test_bodies_cannot_name_a_place_outside(api: HfApi, org: str, name: str) -> None:
    for payload in (
        {"name": name, "organization": org},
        {"name": org, "organization": name or ".."},
    ):
        answer = get_session().post(
            f"{api.endpoint}/api/repos/create", json=payload, headers=build_hf_headers()
        )
        assert answer.status_code == 400, payload


def test_models_are_found_by_their_base_and_author(api: HfApi, org: str) -> None:
    cards = {
        "tuned": ModelCardData(base_model=f"{org}/base"),
        "lora": ModelCardData(base_model=[f"{org}/base"], library_name="peft"),
        "merge": ModelCardData(base_model=[f"{org}/base", f"{org}/tuned"]),
        "small": ModelCardData(base_model=f"{org}/base", base_model_relation="quantized"),
        "other": ModelCardData(base_model=f"{org}/base-2"),
    }
    for name, data in cards.items():
        repo = api.create_repo(f"{org}/{name}").repo_id
        ModelCard(f"---\n{data}\n---\n").push_to_hub(repo)

    def names_tagged(tag: str) -> list[str]:
        listed = api.list_models(author=org, filter=f"base_model:{tag}{org}/base")
        return [model.id.partition("/")[2] for model in listed]

    assert names_tagged("") == ["lora", "merge", "small", "tuned"]
    assert names_tagged("finetune:") == ["tuned"]
    assert names_tagged("adapter:") == ["lora"]
    assert names_tagged("merge:") == ["merge"]
    assert names_tagged("quantized:") == ["small"]
    query = {"author": org, "filter": f"base_model:{org}/base", "limit": 3}
    pages = paginate(f"{api.endpoint}/api/models", query, build_hf_headers())
    assert [item["id"].partition("/")[2] for item in pages] == names_tagged("")
