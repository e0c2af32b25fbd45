"""The routes of the pages: repositories with card and files, pull requests, collections."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from urllib.parse import quote

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from simmerge_hub.localhub import cards, names
from simmerge_hub.localhub.api import access
from simmerge_hub.localhub.api import collections as shelves
from simmerge_hub.localhub.api.exchange import path_value, rooms
from simmerge_hub.localhub.errors import EntryNotFound, Refused
from simmerge_hub.localhub.store.history import Commit
from simmerge_hub.localhub.store.repositories import Repository
from simmerge_hub.localhub.web.card import facts, quote_path, render_card
from simmerge_hub.localhub.web.html import HEADERS, Html, element, join, link, page, table

PICTURES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
    ".webp": "image/webp", ".svg": "image/svg+xml",
}  # fmt: skip
LARGEST_CARD_FILE = 2**20
COMMITS_SHOWN = 20
FOLDER_SHOWN = 20
"""Files of a folder that are shown without being asked for."""
FILE_COLUMNS = ["file", "bytes", "sha256"]


def address(repository: Repository) -> str:
    """Where the page of a repository is."""
    prefix = "" if repository.kind == "models" else f"/{repository.kind}"
    return f"{prefix}/{repository.id}"


def show_repository(request: Request) -> Response:
    """GET /[{kind}/]{id}[/tree/{revision}], /[{kind}/]{id}/commit/{revision}"""
    repository = access.readable(request)
    return _page(request, repository, access.revision(request))


def show_proposal(request: Request) -> Response:
    """GET /[{kind}/]{id}/discussions/{num}: a pull request as what it would make of the branch"""
    repository, num = access.readable(request), path_value(request, "num")
    talk = repository.discussion(int(num)) if num.isdecimal() and len(num) < 9 else None
    if talk is None:
        raise EntryNotFound(f"no discussion {num} in {repository.id}")
    said = f"{'Pull request' if talk.is_pull_request else 'Discussion'} {talk.num}, {talk.status}"
    above = element("p", f"{said}, by {talk.author}: ", element("strong", talk.title))
    if not talk.is_pull_request:
        return page(talk.title, _heading(repository, []), above)
    return _page(request, repository, f"refs/pr/{talk.num}", above)


def show_file(request: Request) -> Response:
    """GET /[{kind}/]{id}/blob/{revision}/{path}: the file itself, as text"""
    place, path = address(access.readable(request)), names.file_path(path_value(request, "path"))
    revision = quote(access.revision(request), safe="")
    target = f"{place}/resolve/{revision}/{quote_path(path)}"
    return RedirectResponse(target, headers=HEADERS)


def show_picture(request: Request) -> Response:
    """GET /[{kind}/]{id}/picture/{revision}/{path}: a picture, of which nothing runs"""
    repository = access.downloadable(request)
    path = names.file_path(path_value(request, "path"))
    entry = access.snapshot(request, repository).files.get(path)
    kind = PICTURES.get(path[path.rfind(".") :].lower())
    if entry is None or kind is None:
        raise EntryNotFound(f"no picture {path}")
    return FileResponse(
        rooms(request).blobs.path(entry.sha256),
        media_type=kind,
        headers={**HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox"},
    )


def show_collection(request: Request) -> Response:
    """GET /collections/{slug}: what is in it and may be seen"""
    facts_of = shelves.whole(request, shelves.readable(request))
    items = [
        element("li", link(f"{item['type']} {item['id']}", _item_address(item)))
        for item in facts_of["items"]
        if item["type"] in names.REPO_KINDS.values()
    ]
    title = str(facts_of["title"])
    heading = element("h1", title)
    said = element("p", f"A collection of {facts_of['owner']['name']}. {facts_of['description']}")
    return page(title, _home(), heading, said, element("ul", *items))


def show_all(request: Request) -> Response:
    """GET / in a browser: every repository that may be seen"""
    parts = list[Html]()
    for kind in names.REPO_KINDS:
        if listed := access.visible(request, kind):
            links = [element("li", link(r.id, address(r))) for r in listed]
            parts += [element("h2", kind), element("ul", *links)]
    return page("localhub", element("h1", "localhub"), *parts)


def show_refusal(refused: Refused) -> Response:
    """What a browser is told where there is nothing to see."""
    said = "There is no such page here, or it is private: a browser sees what is public."
    detail = element("p", str(refused), class_="dim")
    return page("Not found", _home(), element("h1", "Not found"), element("p", said), detail,
                status=404)  # fmt: skip


def _item_address(item: dict) -> str:
    prefix = "" if item["type"] == "model" else f"/{item['type']}s"
    return f"{prefix}/{item['id']}"


def _page(request: Request, repository: Repository, revision: str, *above: str) -> Response:
    commit = rooms(request).repositories.at(repository, revision)
    text = _readme(request, commit)
    return page(
        repository.id,
        _heading(repository, _badges(repository, revision, commit)),
        *above,
        _facts(request, text),
        element("main", _card(request, repository, commit, text)),
        element("h2", "Files"),
        _files(repository, commit),
        element("h2", "Commits"),
        _commits(request, repository, commit),
    )


def _home() -> Html:
    return element("nav", link("localhub", "/"))


def _heading(repository: Repository, badges: Iterable[Html]) -> Html:
    kind = names.REPO_KINDS[repository.kind]
    title = element("h1", link(repository.id, address(repository)))
    return join(_home(), element("header", title, element("p", f"{kind} ", *badges)))


def _badges(repository: Repository, revision: str, commit: Commit) -> list[Html]:
    said = [revision] if revision == commit.oid else [revision, commit.oid[:12]]
    said += ["private"] if repository.private else []
    said += ["gated"] if repository.gated else []
    return [element("span", each, class_="tag") for each in said]


def _readme(request: Request, commit: Commit) -> str:
    entry = commit.files.get("README.md")
    if entry is None or entry.size > LARGEST_CARD_FILE:
        return ""
    return rooms(request).blobs.read(entry.sha256).decode(errors="replace")


def _facts(request: Request, text: str) -> Html:
    rows = [
        element("p", f"{name}: ", *(element("span", each, class_="tag") for each in texts))
        for name, texts in facts(cards.safe_front_matter(text))
    ]
    return join(*rows)


def _card(request: Request, repository: Repository, commit: Commit, text: str) -> Html:
    if not text:
        return element("p", "It has no card.", class_="dim")
    place = address(repository)

    def where(route: str, path: str) -> str | None:
        inside = path in commit.files
        return f"{place}/{route}/{commit.oid}/{quote_path(path)}" if inside else None

    def model(repo_id: str) -> str | None:
        try:
            found = rooms(request).repositories.get("models", names.repo_id(*repo_id.split("/")))
        except Refused:
            return None
        return address(found) if not found.private else None

    return render_card(
        text,
        file=lambda path: where("blob", path),
        picture=lambda path: where("picture", path) if _is_picture(path) else None,
        model=model,
    )


def _is_picture(path: str) -> bool:
    return path[path.rfind(".") :].lower() in PICTURES


def _files(repository: Repository, commit: Commit) -> Html:
    """A table of the files; a folder of very many is closed until it is opened."""
    place, by_folder = address(repository), defaultdict[str, list[list[Html]]](list)
    columns = (
        FILE_COLUMNS if any(entry.lfs for entry in commit.files.values()) else FILE_COLUMNS[:2]
    )
    tops = [path.partition("/")[::2] for path in commit.files]
    counts = Counter(folder for folder, inside in tops if inside)
    for path, entry in sorted(commit.files.items()):
        top = path.partition("/")[0]
        where = link(path, f"{place}/blob/{commit.oid}/{quote_path(path)}")
        by_folder[top if counts[top] > FOLDER_SHOWN else ""].append(
            [
                element("td", where),
                element("td", f"{entry.size:,}", class_="number"),
                element("td", entry.sha256[:12] if entry.lfs else ""),
            ][: len(columns)]
        )
    parts = [table(columns, by_folder.pop("", []))]
    for folder, rows in by_folder.items():
        summary = element("summary", f"{folder}/, {len(rows)} files")
        parts.append(element("details", summary, table(columns, rows)))
    return join(*parts)


def _commits(request: Request, repository: Repository, head: Commit) -> Html:
    place, rows = address(repository), list[list[Html]]()
    for commit in rooms(request).repositories.log(repository, head.oid):
        where = link(commit.oid[:12], f"{place}/commit/{commit.oid}")
        when = commit.date[:16].replace("T", " ")
        cells = (where, commit.title, commit.author, when)
        rows.append([element("td", each) for each in cells])
        if len(rows) == COMMITS_SHOWN:
            break
    return table(["commit", "what", "by", "when"], rows)


class _Kind(StringConvertor):
    """A path of the HTTP interface, which no handler knows, is no page of a kind called `api`."""

    regex = "|".join(names.REPO_KINDS)


register_url_convertor("kind", _Kind())
_PATHS = {
    "": show_repository,
    "/tree/{revision}": show_repository,
    "/commit/{revision}": show_repository,
    "/discussions/{num}": show_proposal,
    "/blob/{revision}/{path:path}": show_file,
    "/picture/{revision}/{path:path}": show_picture,
}
routes = [
    Route("/collections/{namespace}/{name}", show_collection),
    *(Route(f"/{{namespace}}/{{name}}{path}", do) for path, do in _PATHS.items()),
    *(Route(f"/{{kind:kind}}/{{namespace}}/{{name}}{path}", do) for path, do in _PATHS.items()),
]
