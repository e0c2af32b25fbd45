"""A predictor on the Hub: pushed with a card, found again, never believed blindly."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from simmerge_hub.cli.main import main
from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import OutputError, PredictorError
from simmerge_hub.hub.upload.publish import publish_folder
from simmerge_hub.localhub import Hub
from simmerge_hub.planning.ask.options import Sources, Tasks
from simmerge_hub.planning.plan import plan
from simmerge_hub.publishing.predictor_card import predictor_card
from simmerge_hub.publishing.predictors import push_predictor
from simmerge_hub.selector.predictor import archive, origin
from simmerge_hub.selector.predictor.origin import packaged_predictor

FILE = packaged_predictor()


def test_it_is_found_again_pinned(hub: Hub, org: str) -> None:
    done = push_predictor(FILE, f"{org}/predictor")
    ours = archive.text(archive.load(FILE))
    for reference in (f"{org}/predictor", f"{org}/predictor@{done.oid}"):
        trained = origin.find(reference)
        assert trained.origin == f"{org}/predictor@{done.oid}"
        assert archive.text(trained.predictor) == ours
    assert set(HfApi().list_repo_files(f"{org}/predictor")) == {
        ".gitattributes", "README.md", "predictor.json",
    }  # fmt: skip


def test_a_plan_records_the_commit(hub: Hub, org: str) -> None:
    done = push_predictor(FILE, f"{org}/predictor")
    models = [str(nano_folder() / name) for name in ("code", "math")]
    made = plan(
        *models,
        base=str(nano_folder() / "base"),
        tasks=Tasks(experts={"code": "code", "math": "math"}),
        sources=Sources(signals="structural", predictor=f"{org}/predictor"),
    )
    assert made.why().predictor_from == f"{org}/predictor@{done.oid}"


def test_from_the_command_line(hub: Hub, org: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["predictor", "push", str(FILE), f"{org}/predictor", "--private", "--json"]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    info = HfApi().model_info(f"{org}/predictor")
    assert (said["oid"], info.private) == (info.sha, True)
    assert "simmerge-predictor" in (info.tags or [])


def test_a_model_keeps_its_card_and_its_weights(hub: Hub, org: str) -> None:
    publish_folder(nano_folder() / "code", f"{org}/code")
    before = HfApi().list_repo_files(f"{org}/code")
    with pytest.raises(OutputError, match=r"holds something else: .*config.json"):
        push_predictor(FILE, f"{org}/code")
    assert HfApi().list_repo_files(f"{org}/code") == before


def test_it_may_be_pushed_again(hub: Hub, org: str, tmp_path: Path) -> None:
    first = push_predictor(FILE, f"{org}/predictor")
    assert origin.find(f"{org}/predictor").origin == f"{org}/predictor@{first.oid}"
    archive.save(replace(archive.load(FILE), training="0" * 64), tmp_path / "other.json")
    second = push_predictor(tmp_path / "other.json", f"{org}/predictor")
    assert origin.find(f"{org}/predictor").predictor.training == "0" * 64
    assert origin.find(f"{org}/predictor").origin == f"{org}/predictor@{second.oid}"


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": "simmerge-hub predictor", "schema": 1}'])
def test_what_is_no_predictor_is_neither_pushed_nor_believed(
    text: str, hub: Hub, org: str, tmp_path: Path
) -> None:
    (tmp_path / "predictor.json").write_text(text)
    with pytest.raises(PredictorError):
        push_predictor(tmp_path / "predictor.json", f"{org}/broken")
    publish_folder(tmp_path, f"{org}/broken")
    with pytest.raises(PredictorError, match=f"predictor.json of {org}/broken@"):
        origin.find(f"{org}/broken")


def test_a_model_is_no_predictor(hub: Hub, org: str) -> None:
    publish_folder(nano_folder() / "code", f"{org}/code")
    with pytest.raises(PredictorError, match=r"holds no predictor\.json"):
        origin.find(f"{org}/code")


class TestCard:
    def test_what_the_hub_reads(self) -> None:
        data = ModelCard(predictor_card(archive.load(FILE), "org/p")).data
        assert data.library_name == "simmerge-hub"
        assert data.pipeline_tag == "tabular-regression"

    def test_what_a_person_reads(self) -> None:
        predictor = archive.load(FILE)
        text = predictor_card(predictor, "org/p")
        assert "--predictor org/p" in text
        assert predictor.training in text
        for heading in ("Trained on", "Operators it knows", "On held-out models", "Intervals"):
            assert f"\n## {heading}\n" in text
        assert all(f"| `{arm.label}` |" in text for arm in predictor.arms)
        assert "| **xgboost** |" in text
        assert "models of 7 billion parameters: none were measured" in text

    def test_without_a_report_it_claims_nothing(self) -> None:
        text = predictor_card(replace(archive.load(FILE), report={}), "org/p")
        assert "The file holds no report" in text
        assert "## Intervals" not in text

    @pytest.mark.parametrize(
        "report",
        [
            {"sets": 1, "pairs": [], "coverage": "x", "models": "y"},
            {"sets": {"all": {"strategies": {"a | b": {"mean": "x"}}}}},
            {"sets": {"| x\n\n# y": {"strategies": {"| z": {"mean": 1, "low": 0, "high": 2}}}}},
        ],
        ids=range(3),
    )
    def test_a_report_of_others_breaks_nothing(self, report: dict) -> None:
        text = predictor_card(replace(archive.load(FILE), report=report), "org/p")
        assert "\n# y" not in text
        assert "| | z |" not in text

    def test_a_large_predictor_does_not_deny_its_size(self) -> None:
        predictor = archive.load(FILE)
        grown = replace(predictor.familiar, parameters=(10**9, 8 * 10**9))
        assert "7 billion" not in predictor_card(replace(predictor, familiar=grown), "org/p")
