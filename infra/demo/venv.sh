#!/bin/sh
# venv.sh [EXTRAS]  -- the clone's .venv, with Glidepost installed in it (editable) and the extras, such as "publisher,infra".
#
# Made with this machine's python3 (GLIDEPOST_PYTHON: another one), which must be 3.9 or newer. Does nothing if the last
# installation of these extras succeeded and pyproject.toml has not changed since. Quiet, but for progress on a terminal.
set -eu
clone=$(cd "$(dirname "$0")/../.." && pwd -P)
venv=$clone/.venv
extras=${1:-}
stamp=$venv/.installed-$(echo "${extras:-core}" | tr -c 'a-z0-9\n' -)

fail() {
    echo "venv.sh: $1" >&2
    echo "venv.sh: $2" >&2
    exit 1
}

# is_recent PYTHON: does it run, and is it new enough?
is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null
}

# find_python: the first interpreter that will do.
find_python() {
    for candidate in ${GLIDEPOST_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9}; do
        if command -v "$candidate" >/dev/null && is_recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# make_venv: with pip in it, or, where Debian's python3 comes without ensurepip, with pip from outside.
make_venv() {
    python=$(find_python) || fail "there is no Python >= 3.9 here" "install one, or set GLIDEPOST_PYTHON to it"
    rm -rf "$venv"
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv "$venv"
    elif "$python" -c 'import virtualenv' 2>/dev/null; then
        "$python" -m virtualenv --quiet "$venv"
    elif command -v virtualenv >/dev/null; then
        virtualenv --quiet --python "$python" "$venv"
    elif "$python" -m pip --version >/dev/null 2>&1 && "$python" -m venv --without-pip "$venv" 2>/dev/null; then
        "$python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check pip
    else
        fail "this Python cannot make virtual environments" \
            "on Debian and Ubuntu: apt-get install python3-venv; else set GLIDEPOST_PYTHON to another one"
    fi || fail "could not make $venv" "see above; GLIDEPOST_PYTHON takes another interpreter"
}

wanted=$(cksum <"$clone/pyproject.toml")
is_done() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted $("$venv/bin/python" -V 2>&1) $venv" ]
}

! is_done || exit 0
[ -w "$clone" ] || fail "$clone cannot be written to" "work in a clone of your own"
# The clone itself is the lock: two runs at once are one after the other.
if command -v flock >/dev/null; then
    exec 9<"$clone"
    flock 9
    ! is_done || exit 0
fi

# pip_install ARGUMENT...: for all to see on a terminal; else only what it said if it failed.
pip_install() {
    set -- "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@"
    if [ -t 2 ]; then
        "$@" >&2
    elif ! "$@" >"$venv/install.log" 2>&1; then
        cat "$venv/install.log" >&2
        return 1
    fi
}

echo "venv.sh: installing Glidepost${extras:+ with $extras} into $venv" >&2
# A .venv of another place (a clone that was moved) or of an interpreter that is gone has to be made anew.
if ! is_recent "$venv/bin/python" || ! grep -qsF "$venv" "$venv/bin/activate"; then make_venv; fi
pip_install --editable "$clone${extras:+[$extras]}" ||
    fail "pip could not install what pyproject.toml asks for" "see above; is a package index reachable?"
echo "$wanted $("$venv/bin/python" -V 2>&1) $venv" >"$stamp"
