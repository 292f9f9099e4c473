#!/bin/sh
# pythons.sh  -- the unit tests on the oldest and the newest Python that we promise and this machine has, besides the one
# of .venv. Looks on the PATH and among pyenv's. Where there is no other, it says so.
set -eu
clone=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$clone"

# The interpreters that run, one a line: version and path.
find_pythons() {
    versions=$(pyenv root 2>/dev/null || echo /nonexistent)/versions
    for minor in 9 10 11 12 13 14; do
        for python in "python3.$minor" "$versions"/3."$minor".*/bin/python; do
            if "$python" -c "import sys, venv; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
                echo "$minor $python"
                break
            fi
        done
    done
}

ours=$(.venv/bin/python -c 'import sys; print(sys.version_info[1])')
others=$(find_pythons | grep -v "^$ours " || true)
[ -n "$others" ] || echo "pythons.sh: no other Python here than 3.$ours"
printf '%s\n' "$others" | sed -n '1p;$p' | sort -u | while read -r minor python; do
    [ -n "$minor" ] || continue
    venv=.work/python3.$minor
    wanted=$(cksum <pyproject.toml)
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
        echo "pythons.sh: installing Glidepost for Python 3.$minor into $venv"
        mkdir -p .work
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --editable '.[test]'
        echo "$wanted" >"$venv/installed"
    fi
    "$venv/bin/python" -m pytest -q -p no:cacheprovider -m 'not long' tests/schema tests/backends tests/publisher tests/site_puller \
        tests/infra tests/docs </dev/null
done
