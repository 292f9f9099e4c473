# --- how long user jobs may come

DRAIN_S=30 # at most so many seconds until the drain file is seen
drain_file='' draining=''

# Adds to condor_config which user jobs may still start, and looks for the drain file.
plan_lifetime() {
  check_folder GLIDEPOST_DRAIN_FILE
  [ -z "${problem}" ] || finish bad-request "${problem}"
  # What HTCondor itself will hold a user job for; the publisher counts with the same (max_runtime_s).
  allow "time() + (TARGET.AllowedJobDuration ?: TARGET.AllowedExecuteDuration ?: 0) <= GLIDEIN_ToDie - ${vacate}"
  expand "${GLIDEPOST_DRAIN_FILE:-}" || say "the drain file ${GLIDEPOST_DRAIN_FILE} has a variable that is not set here"
  case ${value} in /*) drain_file=${value} ;; *) return 0 ;; esac
  ! run timeout -s KILL 10 test -e "${drain_file}" || finish_slowly drained "${drain_file} is there"
}

# Looks for the drain file while HTCondor runs.
watch_drain_file() {
  [ -n "${drain_file}" ] || return 0
  if [ "${GLIDEPOST_UPDATE_S}" -lt "${DRAIN_S}" ]; then DRAIN_S=${GLIDEPOST_UPDATE_S}; fi
  every "${DRAIN_S}" look_for_drain_file
}

# shellcheck disable=SC2317,SC2329  # called by `every`
look_for_drain_file() {
  briefly 10 test -e "${drain_file}" || return 0
  : >"${scratch}/drain"
  kill -s ALRM "$$"
  exit 0
}

# Lets HTCondor end as soon as no user job runs any more. From now on it takes no new ones.
drain() {
  draining=yes
  say "${drain_file} is there: HTCondor leaves when its user jobs have ended"
  signal_condor TERM
}
