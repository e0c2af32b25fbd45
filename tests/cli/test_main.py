"""Parsing, exit codes, where things are printed, and what is not imported."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from simmerge_hub.cli.main import main, parser
from simmerge_hub.errors import RequestError
from simmerge_hub.localhub import Hub

HEAVY = "{'torch', 'transformers', 'huggingface_hub', 'xgboost', 'peft', 'numpy', 'rich'}"


def commands() -> list[list[str]]:
    """Every command path of the parser."""
    paths: list[list[str]] = []

    def walk(one, path: list[str]) -> None:
        for action in one._actions:
            for name, inner in (
                (action.choices or {}).items() if hasattr(action, "add_parser") else ()
            ):
                paths.append([*path, name])
                walk(inner, [*path, name])

    walk(parser(), [])
    return paths


@pytest.mark.parametrize("path", [*commands()], ids=" ".join)
def test_help_of_every_command(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*path, "--help"])
    assert stop.value.code == 0
    assert "usage: simmerge-hub" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from simmerge_hub.cli.main import parser
parser().format_help()
heavy = {HEAVY} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "arguments",
    [["plam"], ["plan"], ["plan", "a", "b", "--expert", "code"], ["merge", "x"], ["zoo"]],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    seen = capsys.readouterr()
    assert stop.value.code == 2
    assert ("usage:" in seen.err) is (arguments[0] != "plan"), "a long usage is not shown"
    assert "simmerge-hub plan --help" in seen.err or arguments[0] != "plan"
    assert len(seen.err.splitlines()) <= 8
    assert not seen.out


def test_our_error_exits_with_1_and_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(tmp_path / "plan.yaml"), "-o", str(tmp_path / "merged")]) == 1
    seen = capsys.readouterr()
    assert seen.err.splitlines() == [
        f"error: there is no file {tmp_path / 'plan.yaml'}",
        " hint: check its path; simmerge-hub plan MODEL MODEL -o plan.yaml writes one",
    ]
    assert not seen.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["sign", "a", "b", "-o", "both"],
        ["sign", "a", "--push", "--signatures", "org/others"],
        ["sign", "a", "--signals", "structural", "--probes", "code=prompts.txt"],
        ["bandit", "init", "state", "one", "two", "--features", "one"],
        ["bandit", "report", "state"],
        ["bandit", "add", "state", "ties(density=0.5)"],
        ["map", "./one"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_an_error_of_the_request(arguments: list[str]) -> None:
    options = vars(parser().parse_args(arguments))
    run = options.pop("run")
    options.pop("quiet")
    with pytest.raises(RequestError) as caught:
        run(**options)
    assert caught.value.hint


def test_operators_lists_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from simmerge_hub.operators import OPERATORS

    assert main(["operators", "--json"]) == 0
    assert [o["name"] for o in json.loads(capsys.readouterr().out)] == list(OPERATORS)
    assert main(["operators"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in OPERATORS)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(28, "No space left on device", "/out"),
            "/out: No space left on device\n hint: free some space, or write to another disk",
        ),
        (
            PermissionError(13, "Permission denied", "/out"),
            "/out: Permission denied\n hint: write to a folder in which you may make files",
        ),
        (
            OSError("I/O error: Permission denied (os error 13)"),  # of the client's Rust
            "I/O error: Permission denied (os error 13)\n"
            " hint: write to a folder in which you may make files",
        ),
        (
            FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
            "No usable temporary directory found in ['/tmp']\n"
            " hint: set TMPDIR to a folder in which you may make files",
        ),
        (OSError(), "OSError"),
    ],
    ids=str,
)
def test_the_system_s_errors_are_no_traceback(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("simmerge_hub.cli.verbs.operators", fail)
    assert main(["operators"]) == 1
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_full_disk_that_the_system_does_not_name_is_that_of_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is being written says no name when the disk is full."""

    def fail(**_: object) -> None:
        raise OSError(28, "No space left on device")

    def usage(path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=4096 if path == tmp_path else 10**9)

    monkeypatch.setattr("simmerge_hub.cli.verbs.operators", fail)
    monkeypatch.setattr("simmerge_hub.hub.assets.shutil.disk_usage", usage)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "not" / "yet"))
    assert main(["operators"]) == 1
    assert capsys.readouterr().err == (
        f"error: No space left on device; 4.1 kB are left in {tmp_path}/not/yet\n"
        " hint: free some space, or set HF_HOME to a folder on another disk\n"
    )


def test_a_full_disk_on_which_no_cache_is_has_no_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is tempfile asked where to write, which tries it."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simmerge_hub.cli.verbs.operators", fail)
    monkeypatch.setattr(
        "simmerge_hub.hub.assets.shutil.disk_usage", lambda _: SimpleNamespace(free=10**9)
    )
    monkeypatch.setattr("simmerge_hub.hub.assets.tempfile.gettempdir", fail)
    assert main(["operators"]) == 1
    assert capsys.readouterr().err == (
        "error: No space left on device\n hint: free some space, or write to another disk\n"
    )


def test_a_plan_that_cannot_be_written_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "./no", "./such", "-o", str(tmp_path / "gone" / "plan.yaml")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: there is no folder {tmp_path / 'gone'} to write the plan in",
        f" hint: make it first: mkdir -p {tmp_path / 'gone'}",
    ]


def test_ctrl_c_while_commands_are_imported_is_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Press:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'simmerge_hub.cli.plan': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Press())\n"
        "from simmerge_hub.cli import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted: nothing was begun\n"


def test_the_bare_command_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "plan" in said
    assert "merge" in said


def test_windows_is_told_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["operators"]) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "error: on Windows itself" in seen.err and "wsl --install" in seen.err


def test_a_shell_completes_commands_and_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What bash makes of the script, word by word."""
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    asked = "COMP_WORDS=({words}); COMP_CWORD={last}; _shtab_simmerge_hub; echo ${{COMPREPLY[@]}}"
    for words, answer in (
        ("simmerge-hub pl", "plan"),
        ("simmerge-hub plan --sign", "--signals --signatures"),
        ("simmerge-hub zoo pub", "publish"),
    ):
        line = f"source {script}; {asked.format(words=words, last=len(words.split()) - 1)}"
        seen = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        assert seen.stdout.split() == answer.split()


def test_hf_runs_the_command_as_its_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the hf command that is installed finds it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    with pytest.raises(SystemExit) as ended:
        main(["--extend-hf"])
    assert ended.value.code == 2
    assert "pip makes it" in capsys.readouterr().err
    (programs / "hf-simmerge").write_text('#!/bin/sh\necho "simmerge $*"\n')
    (programs / "hf-simmerge").chmod(0o755)
    with pytest.raises(SystemExit) as ended:
        main(["--extend-hf"])
    assert ended.value.code == 0
    monkeypatch.undo()
    code = "from huggingface_hub.cli.hf import main; main()"
    environment = {**os.environ, "HOME": str(tmp_path), "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    seen = subprocess.run(
        [sys.executable, "-c", code, "simmerge", "plan", "a", "b"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert seen.stdout == "simmerge plan a b\n"


def test_a_dataset_named_as_a_model_is_called_one(
    hub: Hub, org: str, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = HfApi().create_repo(f"{org}/prompts", repo_type="dataset").repo_id
    assert main(["show", repo]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: there is no model {repo}, or it is private and the token does not open it",
        f" hint: {repo} is a dataset: name a model instead",
    ]
