"""RO-Crate metadata (https://w3id.org/ro/crate/1.1), for repositories of research data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import quote

from mls import __version__
from mls.report.text.citation import TOOL

NAME = "ro-crate-metadata.json"
_CONTEXT = "https://w3id.org/ro/crate/1.1"
_FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".txt": "text/plain",
}
_ABOUT = {
    "report.html": "The page: answer, figures, checks, and how it was measured.",
    "summary.csv": "One row a repeat.",
    "cells.csv": "One row a cell, with 95 % intervals.",
    "config.json": "The config, defaults included: `snakemake --configfile config.json` measures it again.",
}


def metadata(
    title: str, started_utc: str, digest: str, files: Mapping[str, bytes], sums: Mapping[str, str]
) -> str:
    """The JSON-LD of a crate with these files.

    started_utc: start of the first measurement, by ISO 8601. digest: that of all results. files:
    name → content. sums: name → SHA-256.
    """
    parts = [_file(name, len(data), sums[name]) for name, data in sorted(files.items())]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": title,
        "description": f"Results of a benchmark measured with {TOOL} {__version__}, "
        "from the page down to the raw record of each request.",
        "identifier": f"sha256:{digest}",
        "hasPart": [{"@id": part["@id"]} for part in parts],
        "mentions": {"@id": "#tool"},
    }
    if started_utc:
        root |= {"datePublished": started_utc[:10], "dateCreated": started_utc}
    descriptor = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": _CONTEXT},
        "about": {"@id": "./"},
    }
    tool = {
        "@id": "#tool",
        "@type": "SoftwareApplication",
        "name": TOOL,
        "softwareVersion": __version__,
    }
    graph = [descriptor, root, tool, *parts]
    crate = {"@context": f"{_CONTEXT}/context", "@graph": graph}
    return json.dumps(crate, indent=1, ensure_ascii=False) + "\n"


def _file(name: str, size: int, digest: str) -> dict[str, object]:
    kind = _FORMATS.get(PurePosixPath(name).suffix, "application/octet-stream")
    entry: dict[str, object] = {
        "@id": quote(name),
        "@type": "File",
        "name": name,
        "encodingFormat": kind,
        "contentSize": str(size),
        "sha256": digest,
    }
    return entry | ({"description": _ABOUT[name]} if name in _ABOUT else {})
