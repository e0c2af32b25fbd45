"""Which licences let others in, by their own texts. Not legal advice."""

from collections.abc import Mapping

PERMISSIVE_LICENSES = (
    "unlicense", "wtfpl", "pddl", "cc0-1.0", "isc", "mit", "zlib", "postgresql", "bsl-1.0", "ncsa",
    "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "cdla-permissive-1.0",
    "cdla-permissive-2.0", "odc-by", "etalab-2.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "ecl-2.0", "apache-2.0", "afl-3.0",
)  # fmt: skip
"""Licences that let a merge carry another's, from the least to the most demanding."""
ABSORBED: Mapping[str, frozenset[str]] = {
    "cc-by-nc-3.0": frozenset({"cc-by-nc-2.0"}),
    "cc-by-nc-4.0": frozenset({"cc-by-nc-2.0", "cc-by-nc-3.0"}),
    "cc-by-sa-4.0": frozenset({"cc-by-sa-3.0"}),
    "cc-by-nc-sa-3.0": frozenset({"cc-by-nc-sa-2.0", "cc-by-nc-2.0", "cc-by-nc-3.0"}),
    "cc-by-nc-sa-4.0": frozenset(
        {"cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"}
    ),
    "lgpl-2.1": frozenset({"mpl-2.0"}),
    "lgpl-3.0": frozenset({"mpl-2.0"}),
    "mpl-2.0": frozenset({"eupl-1.2"}),
    "gpl-2.0": frozenset({"lgpl-2.1", "mpl-2.0", "eupl-1.2"}),
    "gpl-3.0": frozenset({"lgpl-2.1", "lgpl-3.0", "mpl-2.0", "eupl-1.2", "cc-by-sa-4.0"}),
    "agpl-3.0": frozenset(
        {"lgpl-2.1", "lgpl-3.0", "gpl-3.0", "mpl-2.0", "eupl-1.2", "cc-by-sa-4.0"}
    ),
}
"""A licence -> others with terms of their own that a whole under it may hold, by their own texts
(creativecommons.org/compatiblelicenses, gnu.org/licenses/license-list, the EUPL's appendix)."""
GPL_AGAINST = frozenset({"afl-3.0", "ms-pl", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0"})
AGAINST: Mapping[str, frozenset[str]] = {
    "lgpl-2.1": GPL_AGAINST | {"apache-2.0", "ecl-2.0"},
    "gpl-2.0": GPL_AGAINST | {"apache-2.0", "ecl-2.0"},
    "lgpl-3.0": GPL_AGAINST,
    "gpl-3.0": GPL_AGAINST,
    "agpl-3.0": GPL_AGAINST,
}
"""A licence -> permissive ones whose terms it does not let in (gnu.org/licenses/license-list)."""
