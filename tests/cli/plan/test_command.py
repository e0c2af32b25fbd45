"""plan --collection and --author: usage, what is printed, and that nobody's text moves a cursor."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from simmerge_hub.cli import show
from simmerge_hub.cli.main import main
from simmerge_hub.cli.plan import page as plan_page
from simmerge_hub.planning import plan as planning
from simmerge_hub.recipe import load
from tests.catalogues import Catalogue


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=400))
    return written


@pytest.fixture
def made(org: str, tmp_path: Path) -> Catalogue:
    return Catalogue(org, tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "name models, or --collection COLLECTION, or --author ORG --base BASE"),
        (["a", "--collection", "o/c"], "MODEL and --collection exclude each other"),
        (["--collection", "o/c", "--author", "o"], "--collection and --author exclude each other"),
        (["--author", "o"], "--author needs --base"),
        (["a", "b", "--shortlist", "3"], "--shortlist goes with --collection or --author"),
        (["--collection", "o/c", "--infer-expert", "code"], "--infer-expert is for two models"),
        (["--collection", "o/c", "--shortlist", "0"], "'0' is no whole number above zero"),
    ],
)
def test_wrong_usage(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", *given])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_collection(
    made: Catalogue, out: io.StringIO, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        made.model(f"math-{number}", gsm8k=0.9 - number / 100)
    made.model("code", humaneval=0.9)
    made.model("rag", squad=0.9)
    made.files("gguf", model_gguf="x")
    file = tmp_path / "plan.yaml"
    plan = ["plan", "--collection", made.slug, "--signals", "structural", "--max-models", "2"]
    assert main([*plan, "--shortlist", "3", "-o", str(file), "--verbose"]) == 0
    said = out.getvalue()
    assert f"9 candidates in the collection {made.slug}, made from {made.base}: 3 are" in said
    assert f"has no safetensors weights (it has model.gguf): {made.org}/gguf" in said
    rest = ", ".join(f"{made.org}/math-{number}" for number in range(1, 5))
    assert f"1 to 5 others state better scores on math: {rest} and 1 more" in said
    assert "left out: " + made.org + "/gguf" not in said
    assert f"{made.org}/gguf: has no safetensors weights" in file.read_text()
    capsys.readouterr()
    assert main([*plan, "--shortlist", "2", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)["catalogue"]
    assert listing["listed"] == 9
    assert len(listing["shortlist"]) + len(listing["dropped"]) == 9


def test_text_of_strangers_moves_no_cursor(made: Catalogue, out: io.StringIO) -> None:
    card = made.card(gsm8k=0.9).replace('"base_model"', '"license": "[/x]", "base_model"')
    evil = made.card(**{"[red]a\x1b[2J\x9b1m": 0.9})
    made.model("a", card=card)
    made.model("b", card=evil)
    made.model("c", humaneval=0.9)
    made.model("d", card=made.card(base="[red]x[/y]\x1b[2J", humaneval=0.5))
    author = ["plan", "--author", made.org, "--base", made.base, "--signals", "structural"]
    assert main([*author, "--verbose"]) == 0
    collection = ["plan", "--collection", made.slug, "--base", made.base]
    assert main([*collection, "--signals", "structural", "--verbose"]) == 0
    said = out.getvalue()
    assert "was made from another base, [red]x[/y] [2J" in said
    assert "[red]a[2j1m" in said
    assert [line for line in said.splitlines() if not line.isprintable()] == []


def test_errors_are_told_without_control_characters(
    made: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    made.model("d", card=made.card(base="x\x1b[2J"))
    assert main(["plan", "--collection", made.slug, "--base", made.base]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_two_that_are_left_have_no_tree(
    made: Catalogue, out: io.StringIO, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.model("math", gsm8k=0.9)
    made.model("code", humaneval=0.9)
    picture = tmp_path / "tree.svg"
    plan = ["plan", "--collection", made.slug, "--signals", "structural"]
    assert main([*plan, "--picture", str(picture)]) == 0
    assert "two models are left, and their merge has no tree" in capsys.readouterr().err
    assert not picture.exists()


def test_reasons_are_folded() -> None:
    assert plan_page.fold(
        {
            "a": "2 others state better scores on math",
            "b": "1 other states a better score on math",
            "c": "1 other states a better score on code",
            "d": "is gated",
            "e": "is gated",
        }
    ) == {
        "1 to 2 others state better scores on math": ["a", "b"],
        "1 other states a better score on code": ["c"],
        "is gated": ["d", "e"],
    }


def test_whose_tokenizer_and_template(
    made: Catalogue,
    out: io.StringIO,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made.model("math", gsm8k=0.9)
    made.model("code", humaneval=0.9)
    own = tmp_path / "own.jinja"
    own.write_text("{{ messages }}")
    file = tmp_path / "plan.yaml"
    models = [f"{made.org}/{name}" for name in ("math", "code")]
    named = ["--expert", "math=math", "--expert", "code=code"]
    plan = ["plan", *models, *named, "--signals", "structural", "-o", str(file)]
    assert main([*plan, "--tokenizer", "code", "--chat-template", str(own)]) == 0
    recipe, why = load(str(file))
    assert (recipe.tokenizer, recipe.chat_template) == (models[1], "{{ messages }}")
    assert why is not None
    monkeypatch.setattr(planning, "sign_all", None)  # what follows is refused before
    for given, said in (
        (["--chat-template", "rag"], f"no model of that name\n hint: name one of {models[0]}"),
        (["--tokenizer", "cod"], "--tokenizer cod: the merge has no model of that name"),
        (["--chat-template", "code"], f"{models[1]} has no chat template"),
        (["--chat-template", "base"], "has no chat template"),
    ):
        capsys.readouterr()
        assert main([*plan, *given]) == 1
        assert said in capsys.readouterr().err


def test_an_edited_plan_is_not_written_over(
    made: Catalogue, out: io.StringIO, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.model("math", gsm8k=0.9)
    made.model("code", humaneval=0.9)
    file = tmp_path / "plan.yaml"
    named = ["--expert", "math=math", "--expert", "code=code", "--signals", "structural"]
    plan = ["plan", f"{made.org}/math", f"{made.org}/code", *named, "-o", str(file)]
    assert main(plan) == 0
    assert main(plan) == 0  # as it was made: made again
    edited = file.read_text().replace("seed: 0", "seed: 7")
    file.write_text(edited)
    assert main(plan) == 1
    assert "edited by hand" in capsys.readouterr().err
    assert file.read_text() == edited
