# --- the end

write_outcome() {
  expand "${GLIDEPOST_OUTCOMES:-}" || value=''
  case ${value} in /*) ;; *) return 0 ;; esac
  record=${value%/}/${glidein}.json
  if mkdir -p -- "${value}" && {
    printf '{"kind":"outcome/1","glidein":%s,"name":%s,"shape":%s,' \
      "$(json "${glidein}")" "$(json "${GLIDEPOST_NAME:-}")" "$(json "${GLIDEPOST_SHAPE:-}")"
    printf '"host":%s,"batch_job":%s,"started_at":%s,"ended_at":%s,' \
      "$(json "${host}")" "$(json "${batch_job}")" "$(json "${started_at}")" "$(json "$(now)")"
    printf '"outcome":%s,"detail":%s,"condor_exit":%s,' "$(json "$1")" "$(json "$2")" "${condor_exit}"
    describe_use
  } >"${record}.part"; then
    mv -- "${record}.part" "${record}"
  else
    say "cannot write the outcome record ${record}"
  fi
}

# Prints the rest of the record: what the glidein was used for (8-usage.sh), and what the checks of the node said.
describe_use() {
  time_of "${startd_at}"
  printf '"startd_at":%s,' "${value}"
  time_of "${claimed_at}"
  printf '"claimed_at":%s,"user_jobs":%s,"cpus":%s,' "${value}" "${user_jobs}" "${cpus:-null}"
  printf '"busy_core_s":%s,"idle_core_s":%s,' "${busy_core_s}" "${idle_core_s}"
  set -- "${tarball:-}" # (the line that choose_tarball has chosen)
  printf '"condor_version":%s,"checks":{' "$(json "${startd_at:+${1%% *}}")"
  separator=''
  while IFS='=' read -r check result; do
    [ -n "${result}" ] || continue
    printf '%s%s:%s' "${separator}" "$(json "${check}")" "$(json "${result}")"
    separator=,
  done <<LINES
${checks_done:-}
LINES
  printf '}}\n'
}

# Ends what still runs out of the scratch folder: HTCondor gives each of its processes and user jobs a variable that
# names a path in it, and no process of another glidein has that.
end_leftovers() { end_processes "${scratch}/"; }

# end_processes TEXT: ends those that have this text in their environment.
end_processes() {
  # shellcheck disable=SC2013  # these are words: /proc/<number>/environ
  for entry in $(grep -lsF -e "$1" /proc/[0-9]*/environ); do
    pid=${entry#/proc/}
    pid=${pid%/environ}
    [ "${pid}" = "$$" ] || kill -s KILL "${pid}" 2>/dev/null
  done
}

remove_scratch() {
  case ${scratch} in */glidepost-*) ;; *) return 0 ;; esac
  for pause in 0 1 2; do
    sleep "${pause}"
    end_leftovers
    # The lease, whose name `*` does not match, goes last: while anything is left it says whose that is.
    rm -rf -- "${scratch:?}"/* 2>/dev/null && rm -rf -- "${scratch}" 2>/dev/null && return 0
    # A user job may leave folders that even their owner cannot enter.
    chmod -R u+rwX "${scratch}" 2>/dev/null
  done
  rm -rf -- "${scratch}" || say "could not remove ${scratch}"
}

show_logs() {
  for log in MasterLog StartLog console; do
    [ -s "${scratch}/log/${log}" ] || continue
    say "the end of ${log}:"
    tail -n 20 "${scratch}/log/${log}"
  done
}

# finish OUTCOME DETAIL: the only way out.
finish() {
  # shellcheck disable=SC2086  # a list of signals
  trap '' ${SIGNALS} ALRM
  trap - EXIT
  cancel_alarm
  end_loops
  case $1 in
    idle-shutdown | never-claimed | deadline | drained | killed) code=0 ;;
    bad-request) code=2 ;;
    *) code=1 ;;
  esac
  [ "${code}" = 0 ] || [ -z "${scratch}" ] || show_logs
  say "outcome $1: $2"
  # The record first: a batch system that loses patience must not cost us the reason.
  write_outcome "$1" "$2"
  keep_logs "$1" "${code}"
  remove_scratch
  exit "${code}"
}

