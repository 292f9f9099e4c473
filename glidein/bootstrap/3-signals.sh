# --- signals

cancel_alarm() {
  [ -z "${alarm}" ] || kill "${alarm}" 2>/dev/null
  alarm=''
}

# Sends ALRM to this shell after $1 seconds. The sleep carries the scratch folder's name so that end_leftovers finds it.
set_alarm() {
  cancel_alarm
  (
    sleeper=''
    trap 'kill ${sleeper}; exit 0' TERM
    GLIDEPOST_ALARM="${scratch}/" sleep "$1" &
    sleeper=$!
    wait "${sleeper}" && kill -s ALRM "$$"
  ) >/dev/null 2>&1 &
  alarm=$!
}

on_signal() {
  interrupted=yes
  if [ "${phase}:$1" = running:ALRM ] && [ -z "${draining}" ] && [ -e "${scratch}/drain" ]; then
    drain
    return 0
  fi
  : "${ended_by:=$1}"
  case ${phase}:$1 in
    preparing:*) [ -z "${child}" ] || kill -s TERM "${child}" 2>/dev/null ;;
    running:*)
      # TERM would let user jobs run out their retirement time; QUIT is HTCondor's fast shutdown.
      phase=leaving
      : >"${scratch}/leaving"
      say "got $1: HTCondor has ${KILL_AFTER_S} s to leave"
      signal_condor QUIT
      set_alarm "${KILL_AFTER_S}"
      ;;
    leaving:ALRM) kill -s KILL "${child}" 2>/dev/null ;;
    *) ;;
  esac
}

catch_signals() {
  for signal in ${SIGNALS} ALRM; do
    # shellcheck disable=SC2064  # the name is meant to expand now
    trap "on_signal ${signal}" "${signal}"
  done
  # A closed standard output must not end us before the scratch is gone; a caught signal is not inherited.
  trap : PIPE
  trap 'finish startd-failed "the glidein script itself failed"' EXIT
}

# Waits for the child and sets `child_status`. A trap only interrupts `wait`, so ask again until the child is gone.
wait_child() {
  interrupted=yes
  while [ "${interrupted}" = yes ]; do
    interrupted=no
    wait "${child}"
    child_status=$?
  done
  child=''
}

# Waits for the command that was just started in the background.
await() {
  child=$!
  # A signal that came before `child` was set has not reached it.
  [ -z "${ended_by}" ] || kill -s TERM "${child}" 2>/dev/null
  wait_child
  [ -z "${ended_by}" ] || finish killed "SIG${ended_by} before HTCondor was started"
  return "${child_status}"
}

# Runs a command so that a signal is acted on at once (a shell runs its traps only when a foreground command has ended).
run() {
  "$@" &
  await
}

# finish_slowly OUTCOME DETAIL: ends like `finish`, but not at once, for a node that fails at once again and again would
# eat up the site's queue. A signal ends the pause.
finish_slowly() {
  pause=$((to_die - $(date +%s)))
  [ "${pause}" -lt "${GLIDEPOST_FAIL_PAUSE_S}" ] || pause=${GLIDEPOST_FAIL_PAUSE_S}
  say "$1: $2; holding the batch job for ${pause} s, so that this node does not take the next one at once"
  if [ "${pause}" -gt 0 ] && [ -z "${ended_by}" ]; then
    sleep "${pause}" &
    child=$!
    [ -z "${ended_by}" ] || kill -s TERM "${child}" 2>/dev/null
    wait_child
  fi
  finish "$1" "$2"
}

