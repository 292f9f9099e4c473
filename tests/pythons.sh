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
chosen=$(printf '%s\n' "$others" | sed -n '1p;$p' | sort -u)

# Each has an environment of its own, so that the two run side by side.
run_tests() {
    .work/python3."$1"/bin/python -m pytest -q -p no:cacheprovider -m 'not long' tests/schema tests/backends \
        tests/publisher tests/site_puller tests/infra tests/docs </dev/null >.work/python3."$1"/tests.log 2>&1
}

install() {
    venv=.work/python3.$1
    wanted=$(cksum <pyproject.toml)
    [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ] || return 0
    echo "pythons.sh: installing Glidepost for Python 3.$1 into $venv"
    mkdir -p .work
    "$2" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --editable '.[test]'
    echo "$wanted" >"$venv/installed"
}

minors='' status=0
while read -r minor python; do
    [ -n "$minor" ] || continue
    install "$minor" "$python"
    minors="$minors $minor"
done <<CHOSEN
$chosen
CHOSEN
for minor in $minors; do
    echo "pythons.sh: running the unit tests on Python 3.$minor (.work/python3.$minor/tests.log)"
    rm -f ".work/python3.$minor/passed"
    (run_tests "$minor" && touch ".work/python3.$minor/passed") &
done
wait
for minor in $minors; do
    echo "pythons.sh: Python 3.$minor"
    cat ".work/python3.$minor/tests.log"
    rm ".work/python3.$minor/passed" 2>/dev/null || status=1
done
exit "$status"
