#!/bin/sh
# All tests: those on real daemons, which mostly wait, beside the others. What they print comes one after the other.
# With GLIDEPOST_PYTHONS=1 the unit tests run again on the oldest and the newest Python meanwhile.
set -u
cd "$(dirname "$0")/.." || exit 1
python=.venv/bin/python
work=.work/all-tests
rm -rf "${work}"
mkdir -p "${work}"
GLIDEPOST_COVERAGE=${PWD}/${work}
export GLIDEPOST_COVERAGE

echo "all.sh: the tests on real daemons run beside the others; what they print follows (${work}/*.log)"
# (two of them, each with daemons of its own, for they wait most of the time)
"${python}" -m pytest tests/real -k 'glidein or puller' >"${work}/glidein.log" 2>&1 &
glidein=$!
"${python}" -m pytest tests/real -k 'not (glidein or puller)' >"${work}/real.log" 2>&1 &
real=$!
trap 'kill "${real}" "${glidein}" 2>/dev/null' INT TERM HUP
"${python}" -m pytest -m 'not real' --durations=15
status=$?
"${python}" tests/support/branches.py || status=1
if [ -n "${GLIDEPOST_PYTHONS:-}" ]; then tests/pythons.sh || status=1; fi
echo "all.sh: the tests on real daemons"
wait "${glidein}" || status=1
wait "${real}" || status=1
cat "${work}/glidein.log" "${work}/real.log"
"${python}" tests/support/coverage_table.py "${work}"
exit "${status}"
