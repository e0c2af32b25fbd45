"""The real harness on nano models: its numbers are ours, a score is measured once."""

import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval import evaluator

from simmerge_hub.cli.zoo import nano_folder
from simmerge_hub.errors import EvaluationError, MissingExtra
from simmerge_hub.evaluation import harness, names
from simmerge_hub.evaluation.harness import Machine, draw_numbers, evaluate
from simmerge_hub.evaluation.known import look_up
from simmerge_hub.evaluation.results import Protocol, TaskResult
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.zoo.evaluation import evaluate as examine
from simmerge_hub.zoo.evaluation import exam, mean
from simmerge_hub.zoo.manifest import load_manifest, load_model
from simmerge_hub.zoo.tasks import task

FULL = Protocol(dtype="float32")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nano models run faster on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def code() -> Checkpoint:
    return resolve(str(nano_folder() / "code"))


@pytest.fixture
def own_yaml(tmp_path: Path) -> Path:
    """A folder with one task of a user's: a few prompts in a file."""
    lines = '{"q": "code g(abcde)>", "a": "abcde"}\n{"q": "code g(zyxwv)>", "a": "zzzzz"}\n'
    (tmp_path / "mine.jsonl").write_text(lines)
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: "
        f"{tmp_path / 'mine.jsonl'}\ntest_split: test\noutput_type: loglikelihood\n"
        "doc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\ntarget_delimiter: ''\n"
        "metadata: {version: 3}\n"
    )
    return tmp_path


def test_nothing_is_said_where_there_is_no_git(
    code: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """Also not by a program that the harness starts."""
    monkeypatch.chdir(tmp_path)
    evaluate(code, ["nano_code"], protocol=replace(FULL, limit=2))
    assert "git" not in capfd.readouterr().err


@pytest.mark.parametrize("watched", [True, False])
def test_what_is_said_to_who_writes_the_harness_is_not_said(
    watched: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched, raising=False)
    with harness._quiet():
        warnings.warn("this will change", FutureWarning, stacklevel=1)
    assert not recwarn.list
    with pytest.raises(FutureWarning), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.warn("this will change", FutureWarning, stacklevel=1)


@pytest.mark.parametrize(("model", "base"), [("code", None), ("rag-lora", "base")])
def test_the_harness_s_numbers_are_our_own_scorer_s(model: str, base: str | None) -> None:
    manifest = load_manifest(nano_folder())
    origin = resolve(str(nano_folder() / base)) if base else None
    names = ["nano_code", "nano_rag"]
    checkpoint = resolve(str(nano_folder() / model))
    by_name = evaluate(checkpoint, names, protocol=FULL, base=origin)
    assert list(by_name) == names
    results = [result for (result,) in by_name.values()]
    loaded = load_model(manifest, model)
    for result in results:
        name = result.task.removeprefix("nano_")
        domain, _, variant = manifest.tasks[name].partition("/")
        score = examine(loaded, exam(task(domain, variant), manifest.evaluation))
        assert result.score == pytest.approx(mean(score.exact_match))
        assert result.halves == pytest.approx(score.exact_match)
        assert result.score == manifest.models[model].scores[name]["exact_match"]
        assert (result.primary, result.version, result.samples) == ("acc", "1", 200)
    assert {r.task: r.score for r in results}["nano_rag"] == (0.0 if model == "code" else 1.0)


def test_a_score_is_measured_once(code: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol, told = Protocol(limit=4, dtype="float32"), list[tuple[str, bool]]()

    def tell(result: TaskResult, kept: bool) -> None:
        told.append((result.task, kept))

    first = evaluate(code, ["nano_math"], protocol=protocol, tell=tell)
    asked: list[Any] = []
    real = evaluator.simple_evaluate

    def watch(*given: Any, **more: Any) -> Any:
        asked.append(more["tasks"])
        return real(*given, **more)

    monkeypatch.setattr("lm_eval.simple_evaluate", watch)
    again = evaluate(code, ["nano_math", "nano_code"], protocol=protocol, tell=tell)
    assert again["nano_math"] == first["nano_math"]
    assert asked == [["nano_code"]]
    assert told == [("nano_math", False), ("nano_math", True), ("nano_code", False)]


def test_another_way_to_generate_is_another_model(
    code: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end token that is corrected, or a penalty: weights, config and tokenizer are the same."""
    folder = tmp_path / "code"
    shutil.copytree(code.location.folder or "", folder)
    settings = folder / "generation_config.json"
    keys: list[str] = []
    for change in ({}, {"transformers_version": "9"}, {"eos_token_id": [2, 3]}, {"top_k": 1}, None):
        stated = settings.read_text()
        settings.write_text(
            stated[:9] if change is None else json.dumps(json.loads(stated) | change)
        )
        keys.append(look_up(resolve(str(folder)), ["nano_code"], protocol=FULL)["nano_code"].key)
    assert keys[0] == keys[1] == look_up(code, ["nano_code"], protocol=FULL)["nano_code"].key
    assert len(set(keys)) == 4


def test_tasks_of_a_folder_are_known_and_their_change_is_seen(
    code: Checkpoint, own_yaml: Path
) -> None:
    (result,) = evaluate(code, ["mine"], protocol=FULL, include=own_yaml)["mine"]
    assert (result.version, result.samples, result.dataset) == ("3", 2, "json")
    yaml = own_yaml / "mine.yaml"
    yaml.write_text(yaml.read_text().replace("version: 3", "version: 4"))
    (result,) = evaluate(code, ["mine"], protocol=FULL, include=own_yaml)["mine"]
    assert result.version == "4"


@pytest.mark.parametrize("by_path", [True, False])
def test_a_change_of_any_file_beside_a_task_is_measured_again(
    by_path: bool, code: Checkpoint, own_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(own_yaml / "mine.yaml") if by_path else "mine"
    kept: list[bool] = []

    def ask(name: str) -> TaskResult:
        more: Any = {"protocol": FULL, "include": None if by_path else own_yaml}
        (result,) = evaluate(code, [name], **more, tell=lambda _, k: kept.append(k))[name]
        return result

    assert ask(name).samples == 2
    with (own_yaml / "mine.jsonl").open("a") as file:
        file.write('{"q": "code g(abcd)>", "a": "x"}\n')
    assert ask(name).samples == 3
    (own_yaml / "notes.csv").write_text("a task's code may read this\n")
    ask(name)
    monkeypatch.chdir(own_yaml)
    ask("mine.yaml" if by_path else name)
    assert kept == [False, False, False, True]


def test_another_task_under_the_same_path_is_not_the_one_before(
    code: Checkpoint, own_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_yaml)
    (first,) = evaluate(code, ["mine.yaml"], protocol=FULL)["mine.yaml"]
    other = own_yaml / "other"
    other.mkdir()
    (other / "mine.yaml").write_text(
        (own_yaml / "mine.yaml").read_text().replace("version: 3", "version: 5")
    )
    monkeypatch.chdir(other)
    (second,) = evaluate(code, ["mine.yaml"], protocol=FULL)["mine.yaml"]
    assert (first.version, second.version) == ("3", "5")


def test_prompts_are_drawn_by_a_seed_and_larger_draws_hold_smaller_ones() -> None:
    few, many = draw_numbers(50, 5, "t/1"), draw_numbers(50, 20, "t/1")
    assert set(few) < set(many)
    assert draw_numbers(50, 5, "t/2") != few
    assert draw_numbers(3, 5, "t/1") == [0, 1, 2]


def test_an_unknown_task_is_named(code: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_every_task", names._own_tasks)  # the real list takes seconds
    with pytest.raises(EvaluationError, match=r"on nano_cod: there is no task nano_cod$") as caught:
        evaluate(code, ["nano_cod"])
    assert caught.value.hint.startswith("did you mean nano_code? Else name a task")
    assert caught.value.hint.endswith("or the YAML file of one")  # `search` has no --include
    names.refuse_unknown(["nano_code"])
    with pytest.raises(EvaluationError, match="has no task 'nano_cod'") as before:
        names.refuse_unknown(["nano_code", "nano_cod"])
    assert before.value.hint.startswith("did you mean nano_code? Else name a task")


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_of_tasks_that_is_none_is_refused(
    made: bool, code: Checkpoint, tmp_path: Path
) -> None:
    """The harness passes over it, be its tasks asked for or not."""
    if made:
        (tmp_path / "tasks").write_text("no folder")
    wrong = "is a file" if made else "is not there"
    for refuse in (
        lambda: names.refuse_unknown(["nano_code"], tmp_path / "tasks"),
        lambda: names.refuse_unknown([], tmp_path / "tasks"),
        lambda: evaluate(code, ["nano_code"], include=tmp_path / "tasks"),
    ):
        with pytest.raises(EvaluationError, match=f"tasks is to hold further tasks, and {wrong}$"):
            refuse()


@pytest.mark.parametrize(("unsafe_code", "named"), [(False, True), (None, False)])
def test_the_option_for_unsafe_code_is_named_where_it_exists(
    unsafe_code: bool | None, named: bool, code: Checkpoint, own_yaml: Path
) -> None:
    with (own_yaml / "mine.yaml").open("a") as file:
        file.write("unsafe_code: true\n")
    with pytest.raises(EvaluationError, match="marked as unsafe") as caught:
        evaluate(code, ["mine"], protocol=FULL, include=own_yaml, unsafe_code=unsafe_code)
    assert ("--unsafe-code" in caught.value.hint) is named


def test_without_the_harness_one_error_names_the_extra(
    code: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="lm-evaluation-harness") as caught:
        evaluate(code, ["nano_code"])
    assert "simmerge-hub[eval]" in caught.value.hint


def test_what_runs_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert harness.choose_machine(Machine()) == ("hf", "32", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert harness.choose_machine(Machine()) == ("hf", "auto", "cuda")
    monkeypatch.setattr(harness, "find_spec", lambda name: object())
    assert harness.choose_machine(Machine()) == ("vllm", "auto", "cuda")
    assert harness.choose_machine(Machine(device="cpu", batch_size="4")) == ("hf", "4", "cpu")


def test_an_adapter_is_handed_over_as_each_backend_takes_it() -> None:
    adapter, base = (resolve(str(nano_folder() / name)) for name in ("rag-lora", "base"))
    arguments = harness.model_arguments(adapter, base, "vllm", "auto")
    assert arguments["lora_local_path"] == str(nano_folder() / "rag-lora")
    assert harness.model_arguments(adapter, base, "hf", "auto")["peft"]
    assert arguments["trust_remote_code"] is False
