# --- what it was used for

startd_at='' claimed_at='' user_jobs=null busy_core_s=null idle_core_s=null

# time_of SECONDS: sets `value` to it as a JSON string, or null for none.
time_of() {
  value=null
  [ -z "$1" ] || value=$(json "$(date -u -d "@$1" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null)")
  [ "${value}" != '""' ] || value=null
}

# Sets the times and numbers of the outcome record from what HTCondor wrote down. A user job's seconds are those that
# its program ran, as the starter measured them, times the cores of its slot: transfers of files do not count as busy.
# That is exact, unless there were so many user jobs (some ten thousand) that HTCondor has thrown the first ones away.
read_usage() {
  user_jobs=$(cat log/StartLog.old log/StartLog 2>/dev/null | grep -c 'Got activate_claim request')
  # "11/22/26 16:28:08 ..." is the node's own time, which the batch job's TZ need not be.
  claimed_at=$(cat log/StartLog.old log/StartLog 2>/dev/null | grep 'Got activate_claim request' | head -n 1 |
    sed -n 's|^\([0-9][0-9]\)/\([0-9][0-9]\)/\([0-9][0-9]\) \([0-9:]*\) .*|20\3-\1-\2 \4|p')
  [ -z "${claimed_at}" ] || claimed_at=$(env -u TZ date -d "${claimed_at}" +%s 2>/dev/null)
  busy_ms=0 job_cpus=1 job_ms=0
  for word in $(cat history.* history 2>/dev/null | sed -n \
    -e 's/^CpusProvisioned = \([1-9][0-9]\{0,4\}\)$/cpus=\1/p' \
    -e '/^JobDuration = [0-9]\{1,8\}\(\.[0-9]*\)\{0,1\}$/{' \
    -e 's/$/.000/' -e 's/^JobDuration = \([0-9]*\)\.\([0-9]*\).*/\1.\2000/' \
    -e 's/\.\([0-9][0-9][0-9]\).*/\1/' -e 's/^0*\([0-9]\)/ms=\1/p' -e '}' \
    -e 's/^\*\*\*.*/end/p' | tail -n 60000); do
    case ${word} in
      cpus=*) job_cpus=${word#*=} ;;
      ms=*) job_ms=${word#*=} ;;
      *) busy_ms=$((busy_ms + job_cpus * job_ms)) job_cpus=1 job_ms=0 ;;
    esac
  done
  busy_core_s=$(((busy_ms + 500) / 1000))
  idle_core_s=$((cpus * ($(date +%s) - startd_at) - busy_core_s))
  [ "${idle_core_s}" -ge 0 ] || idle_core_s=0
}
