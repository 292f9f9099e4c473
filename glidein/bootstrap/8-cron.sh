# --- checks while it runs

# Prints the program `checks/run`, which needs nothing of this script: the startd runs it too.
write_runner() {
  cat <<'RUN'
#!/bin/sh
# Runs checks of a glidein at the same time; each is killed after its time. From the glidein's scratch folder.
#   run first CHECK...    prints lines "CHECK ok|failed|unknown CODE", and leaves for each what it may advertise in
#                         .found, and names of what it may not in .refused
#   run again             prints an ad: what all have found now, and whether user jobs may go on being started
set -u
. ./checks/settings
LC_ALL=C
export LC_ALL
umask 077
mode=$1
shift
NEWLINE='
'
tmp=${scratch}/tmp/checks-$$

# Becomes the check $1.
become() {
  check=$1
  set --
  while IFS= read -r line; do
    [ -z "${line}" ] || set -- "$@" "${line}"
  done <"checks/environ.${check%%-*}"
  [ "${mode}" = first ] || set -- "$@" GLIDEPOST_AGAIN=yes
  # (by this variable its processes are found; timeout has it too. A full disk must not stop a check.)
  TMPDIR=${tmp}/${check}
  export TMPDIR
  mkdir -p "${TMPDIR}" 2>/dev/null
  # With KILL it does not wait for a child that hangs in the kernel.
  exec timeout -s KILL "${limit_s}" env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C "$@" "TMPDIR=${TMPDIR}" \
    sh "checks/${check}"
}

# Runs checks; sets `results`, lines "CHECK ok|failed|unknown CODE".
run_all() {
  started='' results=''
  for check in "$@"; do
    out=checks/${check}.out err=checks/${check}.err
    # (on a full disk its code still says something)
    if ! true >"${out}" || ! true >"${err}"; then out=/dev/null err=/dev/null; fi 2>/dev/null
    become "${check}" </dev/null >"${out}" 2>"${err}" &
    started="${started} ${check}:$!"
  done
  for item in ${started}; do
    wait "${item##*:}"
    code=$?
    check=${item%:*}
    case ${check}:${code} in
      *:0) state=ok ;;
      site-* | *:1 | *:124 | *:137) state=failed ;;
      *) state=unknown ;;
    esac
    results="${results}${check} ${state} ${code}${NEWLINE}"
  done
}

# findings CHECK: prints what it has found and may advertise; names of what it may not go to standard error.
findings() {
  literal='(-?(0|[1-9][0-9]{0,17})|true|false|"[] !#-[^-~]{0,255}")'
  all=$(grep -sE "^[A-Za-z][A-Za-z0-9_]{0,63} *= *${literal} *\$" "checks/$1.out" | head -n 64)
  [ -n "${all}" ] || return 0
  mine=$(printf '%s\n' "${all}" | grep -E "${may}" | grep -viE "${may_not}")
  [ -z "${mine}" ] || printf '%s\n' "${mine}"
  [ "${mine}" = "${all}" ] ||
    { printf '%s\n' "${all}" | grep -vE "${may}"; printf '%s\n' "${all}" | grep -iE "${may_not}"; } | sed 's/ *=.*//' >&2
}

# Ends what the checks have started: their variable names a folder that no user job has.
end_rest() {
  # (again, as one may have started another meanwhile)
  for _ in 1 2 3; do
    # shellcheck disable=SC2013  # these are words: /proc/<number>/environ
    for entry in $(grep -lsF -e "TMPDIR=${tmp}/" /proc/[0-9]*/environ); do
      pid=${entry#/proc/}
      kill -s KILL "${pid%/environ}" 2>/dev/null
    done
  done
  rm -rf -- "${tmp}"
}

again() {
  healthy=true failed=''
  # The startd runs this as soon as it starts; then all has been checked just before.
  if [ -e checks/fresh ] && rm checks/fresh; then
    printf '%s\n' 'GLIDEPOST_Healthy = true' -
    return
  fi
  # shellcheck disable=SC2086  # words
  run_all ${again}
  end_rest 2>/dev/null
  while read -r check state code; do
    [ -n "${check}" ] || continue
    found=$(findings "${check}" 2>/dev/null)
    [ -z "${found}" ] || printf '%s\n' "${found}"
    # What it said at first and does not say now is not known any more.
    while IFS= read -r line; do
      name=${line%%[!A-Za-z0-9_]*}
      printf '%s\n' "${found}" | grep -qiE "^${name} *=" || printf '%s = undefined\n' "${name}"
    done <"checks/${check}.found"
    case ${state} in
      ok) word=true ;;
      failed) word=false failed="${failed} ${check#*-}" ;;
      *) word=undefined ;;
    esac
    case ${check} in
      own-*-*) printf 'GLIDEPOST_CHECK_%s = %s\n' "$(printf %s "${check#own-}" | tr - _)" "${word}" ;;
      own-*) printf 'GLIDEPOST_CHECK_%s = %s\n' "${check#own-}" "${word}" ;;
      *) ;;
    esac
    case ${state}:${required} in failed:*" ${check} "*) healthy=false ;; *) ;; esac
  done <<LINES
${results}
LINES
  printf 'GLIDEPOST_FailedChecks = "%s"\nGLIDEPOST_Healthy = %s\n-\n' "${failed# }" "${healthy}"
}

case ${mode} in
  first)
    run_all "$@"
    for check in "$@"; do findings "${check}" >"checks/${check}.found" 2>"checks/${check}.refused"; done
    printf %s "${results}"
    rm -rf -- "${tmp}"
    ;;
  *) again ;;
esac
RUN
}

# Takes down as the check `cvmfs` what find_cvmfs has found: `cvmfs_way` and `cvmfs_found`.
settle_cvmfs() {
  case " ${GLIDEPOST_OWN_CHECKS:-} " in *' cvmfs '*) ;; *) return 0 ;; esac
  [ -n "${GLIDEPOST_CVMFS:-}" ] || return 0
  missing=''
  for repository in ${GLIDEPOST_CVMFS}; do
    case " ${cvmfs_found:-} " in *" ${repository} "*) ;; *) missing="${missing} ${repository}" ;; esac
  done
  check=own-cvmfs state=ok child_code=0
  [ -z "${missing}" ] || state=failed child_code=1
  echo "no way to${missing}" >checks/own-cvmfs.out
  : >checks/own-cvmfs.err
  : >checks/own-cvmfs.refused
  {
    [ -n "${missing}" ] && echo PYGLIDEIN_RESOURCE_CVMFS = false || echo PYGLIDEIN_RESOURCE_CVMFS = true
    for repository in ${cvmfs_found:-}; do
      echo "HAS_CVMFS_$(printf %s "${repository}" | tr -c 'A-Za-z0-9' '_') = true"
    done
  } >checks/own-cvmfs.found
  believe_check
  # To look for mounts again says nothing of the other ways.
  [ "${cvmfs_way:-native}" = native ] ||
    { sed 's/ own-cvmfs / /' checks/settings >checks/settings.new && mv checks/settings.new checks/settings; }
}

# Adds to condor_config the checks that run again and again. A node that stops to pass one that it must pass gets no
# more user jobs; those that run end as they would, and then the glidein has nothing to do and leaves.
plan_cron() {
  settle_cvmfs
  [ -z "${checks_done}" ] || find_value GLIDEPOST_FailedChecks "\"${checks_failed# }\""
  [ "${GLIDEPOST_CHECK_EVERY_S}" != 0 ] && [ -n "${GLIDEPOST_OWN_CHECKS:-}${GLIDEPOST_CHECKS:-}" ] || return 0
  : >checks/fresh
  configure "STARTD_CRON_JOBLIST = \$(STARTD_CRON_JOBLIST) GLIDEPOST_CHECKS
STARTD_CRON_GLIDEPOST_CHECKS_EXECUTABLE = /bin/sh
STARTD_CRON_GLIDEPOST_CHECKS_ARGS = checks/run again
STARTD_CRON_GLIDEPOST_CHECKS_CWD = ${scratch}
STARTD_CRON_GLIDEPOST_CHECKS_MODE = Periodic
STARTD_CRON_GLIDEPOST_CHECKS_PERIOD = ${GLIDEPOST_CHECK_EVERY_S}s
STARTD_CRON_GLIDEPOST_CHECKS_JOB_LOAD = 0.01
# (else the pool would hear of it at the next update only)
STARTD_CRON_AUTOPUBLISH = If_Changed"
  allow 'GLIDEPOST_Healthy =!= false'
}
