"""A predictor -> a repository on the Hub of its own: `predictor.json` and a card about it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from simmerge_hub.publishing.predictor_card import predictor_card
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.origin import PREDICTOR_FILE

if TYPE_CHECKING:
    from simmerge_hub.hub.upload.publish import Commit


def push_predictor(
    file: str | Path, repo_id: str, *, private: bool = False, create_pr: bool = False
) -> "Commit":
    """Push a predictor and a card about it in one commit.

    Args:
        file: what `predictor train` wrote, or the folder of `learn`; checked first, and sent as it
            was understood.
        repo_id: `org/name`; created if it does not exist.
        private: for a repository that is created now.
        create_pr: open a pull request instead of committing to main.

    Raises:
        PredictorError: the file is no predictor.
        OutputError: the repository holds something else.
        PushFailed: it was refused; no commit was made.
    """
    from simmerge_hub.hub.upload.publish import publish_folder, refuse_others

    path = Path(file)
    predictor = archive.load(path / PREDICTOR_FILE if path.is_dir() else path)
    refuse_others(repo_id, [PREDICTOR_FILE])
    with TemporaryDirectory() as staging:
        archive.save(predictor, Path(staging, PREDICTOR_FILE))
        Path(staging, "README.md").write_text(predictor_card(predictor, repo_id), "utf-8")
        return publish_folder(
            staging,
            repo_id,
            private=private,
            create_pr=create_pr,
            message=f"Predictor {predictor.training[:12]}",
        )
