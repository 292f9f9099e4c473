# --- leases of neighbours

COLLECT_S=20        # the longest that this may hold up a glidein; what is left then, the next one finds
LEASE_GRACE_S=3600  # what site_puller/setup/cleanup.py calls GRACE_S

# Removes what glideins of this account left on this node, being killed without warning: by the rules of `glidepost
# puller cleanup`, as far as a node can tell without asking the batch system. Two that do this at once do no harm: no
# folder ever gets the name of another one again.
collect_dead() {
  collect_until=$(($(date +%s) + COLLECT_S)) looked='' uid=$(id -u)
  for base in "${scratch%/*}" "${TMPDIR:-}" /tmp; do
    base=${base%/}
    case ${base} in /*) ;; *) continue ;; esac
    case ${base} in *[!A-Za-z0-9_./+@,:=-]*) continue ;; *) ;; esac
    case ${looked} in *"<${base}>"*) continue ;; *) ;; esac
    looked="${looked}<${base}>"
    for folder in "${base}"/glidepost-*; do
      if [ "${folder}" = "${scratch}" ] || ! is_dead "${folder}"; then continue; fi
      say "removing what a dead glidein left: ${folder}: ${why}"
      remove_dead "${folder}" && continue
      say "could not remove ${folder} in ${COLLECT_S} s: leaving it, and what there may be more, to the next glidein"
      return 0
    done
  done
}

# is_dead FOLDER: 0 when the glidein whose scratch this is cannot live any more; then `why` says how that is known.
is_dead() {
  { [ -d "$1" ] && [ ! -h "$1" ] && [ -f "$1/.lease" ] && [ ! -h "$1/.lease" ]; } || return 1
  read_lease "$1" || return 1
  # (another host's folder on a file system that hosts share)
  [ "${lease_host}" = "${host}" ] || return 1
  boot=unknown
  read -r boot </proc/sys/kernel/random/boot_id
  if [ "${lease_boot}" = "${boot}" ]; then
    # In a container the PID means something in its own namespace only.
    [ "${lease_namespace}" = "$(readlink "/proc/$$/ns/pid")" ] || return 1
    ! is_running "${lease_pid}" "${lease_start}" || return 1
    why="process ${lease_pid} is gone"
  else
    # The node was started again, or is another one of the same name, whose processes cannot be seen.
    is_outlived "$1" || return 1
    why='it is of another boot, and its walltime is over'
  fi
  # What is mounted there is not ours to remove.
  ! grep -qsF -e "/${1##*/}/" -e "/${1##*/} " /proc/self/mountinfo
}

# read_lease FOLDER: sets lease_host and so on; 1 when it is not whole, not this account's, or not of this folder.
read_lease() {
  [ "$(stat -c '%u %F' -- "$1" 2>/dev/null)" = "${uid} directory" ] || return 1
  size=$(stat -c '%u %F %s' -- "$1/.lease" 2>/dev/null)
  case ${size} in "${uid} regular file "*) size=${size##* } ;; *) return 1 ;; esac
  [ "${size}" -le 4096 ] || return 1
  lease_kind='' lease_glidein='' lease_name='' lease_host='' lease_boot='' lease_namespace=''
  lease_pid='' lease_start='' lease_deadline=''
  while IFS= read -r line || [ -n "${line}" ]; do
    case ${line} in
      *[!\ -~]*) return 1 ;;
      kind=*) lease_kind=${line#*=} ;;
      glidein=*) lease_glidein=${line#*=} ;;
      name=*) lease_name=${line#*=} ;;
      host=*) lease_host=${line#*=} ;;
      boot=*) lease_boot=${line#*=} ;;
      pid_namespace=*) lease_namespace=${line#*=} ;;
      pid=*) lease_pid=${line#*=} ;;
      start=*) lease_start=${line#*=} ;;
      deadline=*) lease_deadline=${line#*=} ;;
      *) ;;
    esac
  done 2>/dev/null <"$1/.lease"
  [ "${lease_kind}" = lease/1 ] && [ -n "${lease_host}" ] && [ -n "${lease_boot}" ] || return 1
  for number in "${lease_pid}" "${lease_start}" "${lease_deadline}"; do
    case ${number} in '' | *[!0-9]* | 0?* | ????????????????*) return 1 ;; *) ;; esac
  done
  case ${lease_name} in
    gp-?????-?????) ;;
    *) return 1 ;;
  esac
  case ${lease_name#gp-} in *[!0-9a-f]*-* | *-*[!0-9a-z]*) return 1 ;; *) ;; esac
  case ${lease_glidein} in "${lease_name}"*) ;; *) return 1 ;; esac
  [ "${1##*/}" = "glidepost-${lease_glidein}" ]
}

# is_running PID START: 0 when the process that has this number began at that time, in clock ticks since the boot.
is_running() {
  stat=''
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null
  if [ -z "${stat}" ]; then
    [ -e "/proc/$1" ] # it is there, and cannot be looked at
    return
  fi
  # shellcheck disable=SC2086  # to be split, as in write_lease
  set -- "$2" ${stat##*) }
  # (a zombie has ended, and nobody has asked how: a container may have no process that does)
  [ "${21:-}" = "$1" ] && [ "${2:-}" != Z ]
}

# is_outlived FOLDER: 0 when its walltime has been over for an hour, by the clocks of this node and of the file system,
# and for an hour nothing was written there: HTCondor's logs tell of a living glidein every few minutes.
is_outlived() {
  time=$(date +%s)
  [ "$((lease_deadline + LEASE_GRACE_S))" -lt "${time}" ] || return 1
  probe=$(mktemp -- "${1%/*}/.glidepost-XXXXXX" 2>/dev/null) || return 1
  time=$(stat -c %Y -- "${probe}")
  rm -f -- "${probe}"
  written=$(stat -c %Y -- "$1" "$1"/* "$1"/log/* 2>/dev/null | sort -n | tail -n 1)
  [ -n "${time}" ] && [ -n "${written}" ] || return 1
  [ "$((lease_deadline + LEASE_GRACE_S))" -lt "${time}" ] && [ "$((time - written))" -gt "${LEASE_GRACE_S}" ]
}

# ask_to_leave TEXT: where only the shell of a glidein was killed, its HTCondor still works for nobody: told to, it gives
# its user jobs back to the queue within a second or two; killed, they would wait there for their lease to end.
ask_to_leave() {
  asked=''
  # shellcheck disable=SC2013  # these are words: /proc/<number>/environ
  for entry in $(grep -lsF -e "$1" /proc/[0-9]*/environ); do
    pid=${entry#/proc/}
    pid=${pid%/environ}
    ! tr '\000' '\n' 2>/dev/null <"/proc/${pid}/cmdline" | head -n 1 | grep -q '/condor_master$' ||
      { kill -s QUIT "${pid}" 2>/dev/null && asked="${asked} ${pid}"; }
  done
  for pause in 0.5 0.5 1 1 1 2 2; do
    left=''
    # (one that has ended, and that nobody has asked how, has an empty one; of these files none has a size)
    for pid in ${asked}; do ! grep -qs . "/proc/${pid}/cmdline" || left=yes; done
    [ -n "${left}" ] || return 0
    run sleep "${pause}"
  done
}

# remove_dead FOLDER: ends what still runs of a dead glidein, and removes its scratch, the lease last; 1 when the time
# is up. A process that works there and is not the glidein's (a person's shell) keeps the folder.
remove_dead() {
  ask_to_leave "/${1##*/}/"
  for pause in 0.2 0.5 1; do
    end_processes "/${1##*/}/"
    left_s=$((collect_until - $(date +%s)))
    [ "${left_s}" -gt 0 ] || return 1
    if readlink /proc/[0-9]*/cwd 2>/dev/null | grep -qF -e "/${1##*/}"; then
      run sleep "${pause}"
    else
      # shellcheck disable=SC2016  # expanded there
      run timeout -s KILL "${left_s}" sh -c 'rm -rf -- "$1"/* 2>/dev/null && rm -rf -- "$1" 2>/dev/null && exit
        chmod -R u+rwX -- "$1" 2>/dev/null
        rm -rf -- "$1"/* && rm -rf -- "$1"' sh "$1" || :
      [ -e "$1" ] || return 0
    fi
  done
  say "${1} stays: a process works in it, or it cannot be removed"
}
