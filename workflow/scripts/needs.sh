#!/bin/sh
# Says in one sentence all that is missing here of what it is asked for, with one apt line:
#   PYTHON=python3 needs.sh python libgomp git chromium
set -u
python=${PYTHON:-python3}
missing=
packages=

lacks() { # what, packages
    missing="$missing${missing:+, }$1"
    packages="$packages${2:+ $2}"
}

has() { command -v "$1" >/dev/null 2>&1; }

needs_python() {
    if ! has "$python"; then
        lacks "Python 3.11 or newer ($python)" "$(basename "$python") $(basename "$python")-venv"
    elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        lacks "Python 3.11 or newer ($python is older: name another by PYTHON=python3.12)" ""
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        lacks "the venv module of $python" "$(basename "$python")-venv"
    fi
}

needs_libgomp() { # the embedded engine's
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ||
        PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null | grep -q 'libgomp\.so\.1 ' ||
        lacks "the library libgomp.so.1" libgomp1
}

needs_git() { has git || lacks git git; }

needs_chromium() { # unless make installs it by itself
    { has chromium && has chromedriver; } || { [ "$(id -u)" = 0 ] && has apt-get; } ||
        lacks "Chromium and its driver for the browser tests" "chromium chromium-driver"
}

for need in "$@"; do
    "needs_$need"
done
[ -z "$missing" ] && exit 0
echo "Missing here: $missing${packages:+; on Debian or Ubuntu: sudo apt-get install$packages}" >&2
exit 1
