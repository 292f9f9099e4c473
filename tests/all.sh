#!/bin/sh
# All tests. Those on real daemons, and those that run the glidein's script in shells, mostly wait, so they run beside the
# others, in lanes of their own. What they print comes one after the other.
# With GLIDEPOST_PYTHONS=1 the unit tests run again on the oldest and the newest Python meanwhile.
set -u
cd "$(dirname "$0")/.." || exit 1
python=.venv/bin/python
work=.work/all-tests
rm -rf "${work}"
mkdir -p "${work}"
GLIDEPOST_COVERAGE=${PWD}/${work}
export GLIDEPOST_COVERAGE
lanes='' status=0

# lane NAME ARGS...: runs these tests in the background, with daemons of their own.
lane() {
  log=${work}/$1.log
  shift
  "${python}" -m pytest --durations=10 "$@" >"${log}" 2>&1 &
  lanes="${lanes} $!"
}

echo "all.sh: three lanes of tests run beside the others; what they print follows (${work}/*.log)"
lane real-glidein tests/real/test_glidein*.py tests/real/test_match.py
lane real-others tests/real --ignore-glob='*/test_glidein*.py' --ignore=tests/real/test_match.py
lane glidein tests/glidein -m 'not real'
# shellcheck disable=SC2086  # a list of processes
trap 'kill ${lanes} 2>/dev/null' INT TERM HUP
"${python}" -m pytest -m 'not real' --ignore=tests/glidein --durations=15 || status=1
"${python}" tests/support/branches.py || status=1
if [ -n "${GLIDEPOST_PYTHONS:-}" ]; then tests/pythons.sh || status=1; fi
echo "all.sh: the lanes"
for process in ${lanes}; do wait "${process}" || status=1; done
cat "${work}/glidein.log" "${work}/real-glidein.log" "${work}/real-others.log"
"${python}" tests/support/coverage_table.py "${work}"
exit "${status}"
