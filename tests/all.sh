#!/bin/sh
# All tests: those on real daemons, which mostly wait, beside the others. What they print comes one after the other.
set -u
cd "$(dirname "$0")/.." || exit 1
python=.venv/bin/python
work=.work/all-tests
rm -rf "${work}"
mkdir -p "${work}"
GLIDEPOST_COVERAGE=${PWD}/${work}
export GLIDEPOST_COVERAGE

echo "all.sh: the tests on real daemons run beside the others; what they print follows (${work}/real.log)"
"${python}" -m pytest -m real >"${work}/real.log" 2>&1 &
real=$!
trap 'kill "${real}" 2>/dev/null' INT TERM HUP
"${python}" -m pytest -m 'not real'
status=$?
echo "all.sh: the tests on real daemons"
if ! wait "${real}"; then status=1; fi
cat "${work}/real.log"
"${python}" tests/support/coverage_table.py "${work}"
exit "${status}"
