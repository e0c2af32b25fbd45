"""Everything localhub refuses to do, as one tree.

    Refused                    400  the request makes no sense
    ├── BadToken               401  the token is unknown
    ├── LoginRequired          401  an anonymous visitor asks for something that needs a user
    ├── Forbidden              403  a known user may not do this
    ├── GatedRepo              403  the files need granted access (401 without a token)
    ├── RepoNotFound           404  no such repository for this visitor (401 without a token)
    ├── RevisionNotFound       404  no such branch, tag, pull request or commit
    ├── EntryNotFound          404  no such file or folder in that revision
    ├── AlreadyExists          409  the name is taken, or two changes touch the same file
    ├── StaleParent            412  the branch has moved on since `parentCommit`
    └── TooLarge               413  an upload is larger than the protocol allows

`code` is what the client maps to its own exception classes (`X-Error-Code`). Knows nothing about
requests: `server` turns these into replies.
"""

from collections.abc import Mapping


class Refused(Exception):
    """A request that changes nothing; `status` and `code` say why as HTTP and the Hub do."""

    status = 400
    code: str | None = None

    def __init__(
        self, message: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
    ):
        super().__init__(message)
        self.status = status or self.status
        self.headers = dict(headers or {})


class BadToken(Refused):
    """The `Authorization` header holds nobody's token. The client looks for these exact words."""

    status = 401

    def __init__(self):
        super().__init__("Invalid credentials in Authorization header")


class LoginRequired(Refused):
    """An anonymous visitor asks for something that needs a user."""

    status = 401


class Forbidden(Refused):
    """A known user may not do this."""

    status = 403


class GatedRepo(Refused):
    """The repository may be seen, its files may not."""

    status, code = 403, "GatedRepo"


class RepoNotFound(Refused):
    """There is no such repository for this visitor."""

    status, code = 404, "RepoNotFound"


class RevisionNotFound(Refused):
    """The repository has no such branch, tag, pull request or commit."""

    status, code = 404, "RevisionNotFound"


class EntryNotFound(Refused):
    """The revision has no such file or folder."""

    status, code = 404, "EntryNotFound"


class AlreadyExists(Refused):
    """A repository, branch or tag of that name exists, or two changes touch the same file."""

    status = 409


class StaleParent(Refused):
    """The branch has moved on since the commit the client started from."""

    status = 412


class TooLarge(Refused):
    """An upload is larger than the protocol allows."""

    status = 413


class LocalhubError(RuntimeError):
    """localhub cannot start or go on; the message says what to do. Not about any single request."""
