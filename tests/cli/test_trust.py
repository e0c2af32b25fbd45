"""show, verify, push: what is printed where, and how they end."""

import io
import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from rich.console import Console
from torch import Tensor

from simmerge_hub.cli import show, trust
from simmerge_hub.cli.main import main
from simmerge_hub.operators.registry import OPERATORS, operator
from simmerge_hub.recipe import RECIPE_FILE
from tests import nano
from tests.publishing.trust.test_record import publish_merge

Captured = pytest.CaptureFixture[str]


def test_push_is_one_commit(recipe: Path, org: str, capsys: Captured) -> None:
    output = str(recipe.parent / "merged")
    assert main(["merge", str(recipe), "-o", output]) == 0
    capsys.readouterr()
    assert main(["push", output, f"{org}/merged", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["repo"], said["oid"]) == (f"{org}/merged", HfApi().model_info(f"{org}/merged").sha)
    assert main(["push", output, f"{org}/merged", "--pr"]) == 0
    assert HfApi().model_info(f"{org}/merged").sha == said["oid"]


def test_push_says_what_happened(recipe: Path, org: str, capsys: Captured) -> None:
    output, repo = str(recipe.parent / "merged"), f"{org}/merged"
    assert main(["merge", str(recipe), "-o", output]) == 0
    for options, said in (
        ([], "pushed in one commit, "),
        ([], "nothing to push: all of it is there already, "),
        (["--revision", "next", "--message", "Mine"], "nothing to push: "),
    ):
        capsys.readouterr()
        assert main(["push", output, repo, *options]) == 0
        assert capsys.readouterr().err.startswith(said)
    (recipe.parent / "merged" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert main(["push", output, repo, "--pr"]) == 0
    assert capsys.readouterr().err.startswith("proposed in a pull request, ")


def test_verify_finds_one_flipped_bit(recipe: Path, org: str, capsys: Captured) -> None:
    output, repo = recipe.parent / "merged", f"{org}/merged"
    assert main(["merge", str(recipe), "-o", str(output)]) == 0
    assert main(["push", str(output), repo]) == 0
    capsys.readouterr()
    assert main(["verify", str(output)]) == 0
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("", "5 files are what the merge wrote\n")
    weights = output / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert main(["verify", str(output)]) == 1
    seen = capsys.readouterr()
    assert seen.out == "differs model.safetensors\n"
    assert "error: " in seen.err
    assert main(["verify", str(output), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "holds": False, "name": str(output), "match": 4, "differ": ["model.safetensors"],
        "missing": [], "extra": [],
    }  # fmt: skip
    assert main(["push", str(output), repo]) == 1
    assert main(["verify", repo]) == 0
    assert main(["push", str(output), repo, "--force"]) == 0
    assert main(["verify", repo]) == 1


def test_push_says_what_licences_ask_for(recipe: Path, org: str, capsys: Captured) -> None:
    for name, licence in (("a", "llama3"), ("b", "apache-2.0")):
        (recipe.parent / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    output = str(recipe.parent / "merged")
    assert main(["merge", str(recipe), "-o", output]) == 0
    capsys.readouterr()
    assert main(["push", output, f"{org}/merged"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("pushed in one commit, ")
    assert [line.partition(": ")[0] for line in said[1:]] == ["licence"] * 4
    assert f'begin with "Llama-3", which {org}/merged does not' in said[1]
    assert said[-1].endswith("more such lines are on the card")


@pytest.mark.parametrize("options", [["--stream"], ["-o", "merged"]])
def test_who_merges_and_pushes_at_once_is_told_the_same(
    options: list[str],
    recipe: Path,
    org: str,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(recipe.parent)
    for name, licence in (("a", "llama3"), ("b", "apache-2.0")):
        (recipe.parent / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    assert main(["merge", str(recipe), "-o", "first"]) == 0
    capsys.readouterr()
    assert main(["push", "first", f"{org}/first"]) == 0
    told = capsys.readouterr().err.splitlines()[1:]
    assert len(told) == 4
    assert main(["merge", str(recipe), *options, "--push", f"{org}/merged"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.replace("/merged", "/first") for line in said[-4:]] == told
    assert main(["push", "first", f"{org}/first", "--json"]) == 0
    duties = json.loads(capsys.readouterr().out)["duties"]
    again = ["--overwrite"] if "-o" in options else []
    assert main(["merge", str(recipe), *options, *again, "--push", f"{org}/json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["duties"] == duties


def test_push_puts_it_into_a_collection(recipe: Path, org: str, capsys: Captured) -> None:
    output, repo = str(recipe.parent / "merged"), f"{org}/merged"
    assert main(["merge", str(recipe), "-o", output]) == 0
    gone = f"{org}/gone-0123456789abcdef01234567"
    assert main(["push", output, repo, "--collection", gone]) == 1
    assert not HfApi().repo_exists(repo), "nothing is pushed where the collection is not there"
    assert main(["push", output, repo, "--collection", "no-title"]) == 1
    capsys.readouterr()
    assert main(["push", output, repo, "--collection", f"{org}/My merges"]) == 0
    address = capsys.readouterr().err.partition("in the collection: ")[2].split()[0]
    slug = address.partition("/collections/")[2]
    assert [item.item_id for item in HfApi().get_collection(slug).items] == [repo]
    for again in (slug, address, f"{org}/My merges"):
        assert main(["push", output, repo, "--collection", again, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["outcome"], said["collection"]) == ("unchanged", address)
    assert len(HfApi().get_collection(slug).items) == 1


def test_push_with_somebody_elses_token(recipe: Path, org: str, capsys: Captured) -> None:
    output = str(recipe.parent / "merged")
    assert main(["merge", str(recipe), "-o", output]) == 0
    assert main(["push", output, f"{org}/merged", "--token", "hf_visitor"]) == 1
    assert "may not write" in capsys.readouterr().err
    assert main(["push", output, f"visitor/{org}", "--token", "hf_visitor"]) == 0


def test_show_fits_a_terminal(
    org: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = publish_merge(org, tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["show", merged]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24, lines
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "TIES (density 0.5) of code + math" in text
    assert "50 % (20–80)" in text
    assert text.count("the same") == 3
    assert f"simmerge-hub verify {merged}" in text
    assert main(["show", merged, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [parent["state"] for parent in said["parents"]] == ["same"] * 3
    assert said["results"][0]["predicted"] == [0.5, 0.2, 0.8]
    assert said["why"]["status"] == "calibrated"


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_tables_cut_nothing(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(show, "OUT", Console(file=written, width=width))
    rows = [
        ("org/a-model-with-a-very-long-name (base)", "0123456789ab", "same", "short"),
        ("org/b", "0123456789ab", "moved on", "on openai/gsm8k; no score of the expert on it"),
    ]
    show.OUT.print(trust._grid(("Parents", "merged at", "now", ""), rows))
    lines = written.getvalue().splitlines()
    assert "…" not in written.getvalue() and max(map(len, lines)) <= width
    right = lines[0].index("now") + len("moved on") + 2
    left = lines[0].index("merged at")
    assert "".join("".join(row[right:] for row in lines).split()) == "".join(
        f"{rows[0][3]}{rows[1][3]}".split()
    )
    assert "".join("".join(row[:left] for row in lines[1:]).split()) == "".join(
        f"{rows[0][0]}{rows[1][0]}".split()
    )


def test_show_of_a_recipe_names_no_files(
    recipe: Path, org: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    nano.push(recipe.parent / "a", f"{org}/a")
    text = recipe.read_text().replace(f"folder: {recipe.parent / 'a'}", f"model: {org}/a")
    recipe.write_text(text)
    assert main(["show", str(recipe)]) == 0
    said = capsys.readouterr().out
    assert "simmerge-hub verify" not in said
    assert "not pinned" in said
    assert "a folder" in said


def test_a_merge_of_folders_is_not_said_to_be_redone_by_its_name(
    recipe: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said to be typed next is quoted, and goes on."""
    monkeypatch.setenv("COLUMNS", "400")
    output = str(recipe.parent / "my merge")
    assert main(["merge", str(recipe), "-o", output]) == 0
    assert f"next: simmerge-hub push '{output}' org/name" in capsys.readouterr().err
    assert main(["show", output]) == 0
    said = capsys.readouterr().out
    assert "-o redone" not in said
    assert "only with the folders: copy its recipe, and add folder: PATH to " in said
    assert main(["merge", output, "-o", str(recipe.parent / "again")]) == 1
    assert "copy the recipe into a file and add `folder: PATH`" in capsys.readouterr().err


def test_where_a_merge_goes_is_said_whole(recipe: Path, org: str, capsys: Captured) -> None:
    nano.push(recipe.parent / "a", f"{org}/a")
    text = recipe.read_text().replace(f"folder: {recipe.parent / 'a'}", f"model: {org}/a")
    recipe.write_text(text)
    output = str(recipe.parent / "merged")
    assert main(["merge", str(recipe), "-o", output]) == 0
    before = HfApi().model_info(f"{org}/a").sha
    for name, license, words in (
        ("a", "mit", "does not say whose the repository is"),
        (f"{org.upper()}/A", "mit", "is one of the models that were merged"),
        (f"{org}/other", " ", "--license names no licence"),
        (f"{org}/other", "x" * 97, "--license names no licence"),
    ):
        assert main(["push", output, name, "--license", license]) == 1
        assert words in " ".join(capsys.readouterr().err.split())
    assert HfApi().model_info(f"{org}/a").sha == before
    assert not HfApi().repo_exists(f"{org}/other")


def test_a_merge_fed_from_a_file_is_shown_and_who_can_redo_it(
    recipe: Path, org: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe beside the weights names the file alone: it is run where that lies."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(recipe.parent)
    merged = nano.model(recipe.parent / "merged")
    models = [nano.push(recipe.parent / name, f"{org}/{name}") and f"{org}/{name}" for name in "ab"]
    fed = "".join(f"    {name}: own.jsonl\n" for name in models)
    text = (
        f"simmerge: 1\nmodels: [{', '.join(models)}]\nsteps:\n- operator: regmean\n  models: "
        f"[{', '.join(models)}]\ncalibration:\n  prompts:\n{fed}"
    )
    (merged / RECIPE_FILE).write_text(text)
    (merged / "README.md").write_text(
        f"---\nlicense: mit\n---\n\n## Redo it\n\n```yaml\n{text}```\n"
    )
    nano.push(merged, f"{org}/fed")
    for name in ("merged", f"{org}/fed"):
        assert main(["show", name]) == 0
        assert "only with own.jsonl: copy its recipe to where they lie" in capsys.readouterr().out
    assert main(["merge", "merged", "-o", "again"]) == 1
    assert "there is no file of prompts merged/own.jsonl" in capsys.readouterr().err
    assert main(["merge", f"{org}/fed", "-o", "again"]) == 1
    assert "a file of whoever merged it" in capsys.readouterr().err


def test_what_an_operator_of_one_s_own_made_is_gone_on_with_by_its_file(
    recipe: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("sys.argv", ["my larger.py"])
    monkeypatch.chdir(recipe.parent)

    @operator(space="weight", paper="ours")
    def larger_of(chunk: Tensor, _: None = None) -> Tensor:
        """Of every two weights the larger."""
        return chunk.max(0).values

    recipe.write_text(recipe.read_text().replace("linear", "larger_of"))
    try:
        assert main(["merge", recipe.name, "-o", "merged"]) == 0
        assert "next: python 'my larger.py' push merged org/name" in capsys.readouterr().err
        assert main(["show", recipe.name]) == 0
        assert f"python 'my larger.py' merge {recipe.name} -o merged" in capsys.readouterr().out
    finally:
        OPERATORS.pop("larger_of")
