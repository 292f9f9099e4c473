# --- checks of the node

# What checks may advertise, and what of it is nobody's but the glidein's to say; names of ClassAds ignore case.
CHECKS_MAY='^((HAS|GLIDEPOST)_[A-Za-z0-9_]+|PYGLIDEIN_RESOURCE_(GPU|CVMFS|GRIDFTP)) *='
CHECKS_MAY_NOT='^GLIDEPOST_(Site|Shape|Pool|Glidein|BatchJob|Start|Drain|Healthy|FailedChecks|Check_[a-z_]*|Asked[A-Za-z]*) *='

# Runs the checks before there is anything of HTCondor or of the pool on the node. First Glidepost's own, at the same
# time: one that fails is only advertised, unless the site requires it. Then the site's, one after the other: the first
# that fails ends the glidein. What they find out about the node is advertised: lines NAME = VALUE on standard output,
# where VALUE is a whole number, true, false or "text". Sets `checks_done`, lines NAME=ok, failed or unknown.
#
# In the folder `checks` own-NAME and site-NAME are the scripts; each leaves .out and .err. 8-cron.sh runs them again.
run_checks() {
  found_names='' found_lines='' checks_done='' checks_failed='' number=0
  check_checks
  if ! { mkdir checks && write_checks && write_runner >checks/run && write_check_settings >checks/settings; }; then
    finish no-scratch "cannot write into ${scratch}"
  fi
  set --
  for name in ${GLIDEPOST_OWN_CHECKS:-}; do
    # How user jobs get CVMFS is found out later, see settle_cvmfs.
    [ "${name}" = cvmfs ] || set -- "$@" "own-${name}"
  done
  [ "$#" = 0 ] || try_checks "$@"
  for name in ${GLIDEPOST_CHECKS:-}; do try_checks "site-${name}"; done
  case ${found_names}, in
    *', PYGLIDEIN_RESOURCE_GRIDFTP,'*) ;;
    *) advertise PYGLIDEIN_RESOURCE_GRIDFTP undefined ;; # (user jobs ask for it; only a check of the site's knows)
  esac
}

check_checks() {
  problem=''
  : "${GLIDEPOST_CHECK_EVERY_S:=600}"
  check_number GLIDEPOST_CHECK_EVERY_S 0
  check_text GLIDEPOST_OWN_CHECKS 'a-z0-9 -' optional
  check_text GLIDEPOST_REQUIRE 'a-z0-9 -' optional
  for name in ${value}; do
    case " ${GLIDEPOST_OWN_CHECKS:-} " in
      *" ${name} "*) ;;
      *) bad "GLIDEPOST_REQUIRE: there is no check '${name}'" ;;
    esac
  done
  for variable in APPTAINER USER_IMAGE; do check_line "GLIDEPOST_${variable}"; done
  [ -z "${problem}" ] || finish bad-request "${problem}"
}

# Writes the scripts, and `environ.site` and `environ.own`: lines NAME=value, what the site's checks and ours see.
write_checks() {
  for kind in own site; do
    names=${GLIDEPOST_OWN_CHECKS:-} variable=GLIDEPOST_OWN_CHECK number=0
    [ "${kind}" = own ] || names=${GLIDEPOST_CHECKS:-} variable=GLIDEPOST_CHECK
    for name in ${names}; do
      number=$((number + 1))
      value_of "${variable}_${number}"
      printf '%s\n' "${value}" >"checks/${kind}-${name}" || return
    done
  done
  # What user jobs will see, and what the glidein is to be.
  printf '%s\n' "GLIDEPOST_SITE=${GLIDEPOST_SITE}" "GLIDEPOST_SHAPE=${GLIDEPOST_SHAPE}" "GLIDEPOST_CPUS=${cpus}" \
    "GLIDEPOST_MEMORY_MIB=${memory_mib}" "GLIDEPOST_DISK_MIB=${disk_mib}" "GLIDEPOST_GPUS=${gpus}" \
    "${condor_environment}${user_environment}" >checks/environ.site || return
  server=$(printf '%s\n' "${GLIDEPOST_TARBALLS}" | sed -n -e 's/^.* \(https\{0,1\}:[^ ?#]*\)[^ ]*$/\1/p' | head -n 1)
  expand "${GLIDEPOST_APPTAINER:-}" || value=${GLIDEPOST_APPTAINER}
  {
    cat checks/environ.site
    printf '%s\n' "GLIDEPOST_COLLECTORS=${GLIDEPOST_COLLECTORS}" "GLIDEPOST_URL=${server}" \
      "GLIDEPOST_CVMFS=${GLIDEPOST_CVMFS:-}" "CVMFS_MOUNT_DIR=${CVMFS_MOUNT_DIR:-/cvmfs}" \
      "GLIDEPOST_APPTAINER=${value}" "GLIDEPOST_USER_IMAGE=${GLIDEPOST_USER_IMAGE:-}"
  } >checks/environ.own
}

# Prints what the runner must know. (Nothing of it holds a quote.)
write_check_settings() {
  checks_required=' '
  for name in ${GLIDEPOST_CHECKS:-}; do checks_required="${checks_required}site-${name} "; done
  again=${checks_required}
  for name in ${GLIDEPOST_REQUIRE:-}; do checks_required="${checks_required}own-${name} "; done
  for name in ${GLIDEPOST_OWN_CHECKS:-}; do
    # These two would ask a server each time, for what does not change; see them.
    case ${name} in network | clock) ;; *) again="${again}own-${name} " ;; esac
  done
  printf "%s='%s'\n" scratch "${scratch}" limit_s "${GLIDEPOST_CHECK_S}" required "${checks_required}" again "${again}" \
    may "${CHECKS_MAY}" may_not "${CHECKS_MAY_NOT}"
}

# try_checks CHECK...: runs them at the same time and believes them.
try_checks() {
  run sh checks/run first "$@" >checks/first
  # What they have started and left must not outlive them; again, as one may just have been starting another.
  for _ in 1 2; do end_leftovers; done
  while read -r check state child_code; do believe_check; done <checks/first
}

# Takes down what `check` has found, and ends the glidein if it must.
believe_check() {
  name=${check#*-}
  checks_done=${checks_done}${name}=${state}${NEWLINE}
  why_check
  case ${check}:${state} in
    site-*)
      say "check ${name} ended with ${child_code}"
      head -c 8192 "checks/${check}.out"
      head -c 8192 "checks/${check}.err"
      ;;
    *:ok) say "check ${name}: ok" ;;
    *) say "check ${name}: ${state}: ${reason}" ;;
  esac
  case ${state}:${checks_required} in
    failed:*" ${check} "*) finish_slowly "check-failed:${name}" "${reason}" ;;
    failed:*) checks_failed="${checks_failed} ${name}" ;;
    *) ;;
  esac
  attribute=GLIDEPOST_CHECK_${name}
  case ${name} in *-*) attribute=$(printf %s "${attribute}" | tr - _) ;; *) ;; esac
  case ${check}:${state} in
    own-*:ok) find_value "${attribute}" true ;;
    own-*:failed) find_value "${attribute}" false ;;
    *) ;;
  esac
  read_findings
}

# Sets `reason`: why `check` did not end well.
why_check() {
  reason=''
  # (of a script that is not ours the error is more likely to say why)
  case ${check}:${state} in
    *:ok) return 0 ;;
    own-*) reason=$(cat "checks/${check}.err" "checks/${check}.out") ;;
    *) reason=$(cat "checks/${check}.out" "checks/${check}.err") ;;
  esac
  reason=$(printf '%s\n' "${reason}" | tail -n 1 | cut -c 1-200)
  case ${child_code} in
    124 | 137) reason="it took longer than ${GLIDEPOST_CHECK_S} s, or was killed" ;;
    *) reason="it ended with ${child_code}: ${reason}" ;;
  esac
}

# find_value NAME LITERAL: advertises something that was found out.
find_value() {
  found_names="${found_names}, $1"
  found_lines=${found_lines}"$1 = $2"${NEWLINE}
}

# Adds to `found_names` and `found_lines` what `check` has found out.
read_findings() {
  while IFS= read -r attribute; do
    say "check ${name}: ${attribute} is not advertised: it must begin with HAS_ or GLIDEPOST_, and not be our own"
  done <"checks/${check}.refused"
  while IFS= read -r line; do
    found_names="${found_names}, ${line%%[!A-Za-z0-9_]*}"
    # shellcheck disable=SC2016  # for HTCondor, not for the shell
    case ${line} in *'$'*) line=$(printf '%s\n' "${line}" | sed 's/\$/$(DOLLAR)/g') ;; *) ;; esac
    found_lines=${found_lines}${line}${NEWLINE}
  done <"checks/${check}.found"
}
