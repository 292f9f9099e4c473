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
GLIDEPOST_TEST_RUN=${PWD}/${work}
export GLIDEPOST_TEST_RUN
lanes='' failed=''

# lane NAME ARGS...: runs these tests in the background, with daemons of their own.
lane() {
  name=$1 log=${work}/$1.log
  shift
  "${python}" -m pytest --durations=10 "$@" >"${log}" 2>&1 &
  lanes="${lanes} ${name}=$!"
}

echo "all.sh: three lanes of tests run beside the others; what they print follows (${work}/*.log)"
lane real-glidein tests/real/test_glidein*.py tests/real/test_match.py
lane real-others tests/real --ignore-glob='*/test_glidein*.py' --ignore=tests/real/test_match.py
lane glidein tests/glidein -m 'not real'
trap 'for lane in ${lanes}; do kill "${lane#*=}" 2>/dev/null; done' INT TERM HUP
"${python}" -m pytest -m 'not real' --ignore=tests/glidein --durations=15 || failed="${failed} unit"
"${python}" tests/support/branches.py || failed="${failed} branches"
if [ -n "${GLIDEPOST_PYTHONS:-}" ]; then tests/pythons.sh || failed="${failed} pythons"; fi
echo "all.sh: the lanes"
for lane in ${lanes}; do wait "${lane#*=}" || failed="${failed} ${lane%=*}"; done
cat "${work}/glidein.log" "${work}/real-glidein.log" "${work}/real-others.log"
"${python}" tests/support/coverage_table.py "${work}"
[ -n "${failed}" ] || exit 0
echo "all.sh: what failed:${failed}"
"${python}" tests/support/failures.py "${work}"
exit 1
