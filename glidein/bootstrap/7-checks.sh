# --- the site's checks

# Runs the site's checks, one after the other, before there is anything of HTCondor or of the pool on the node: the
# first that ends with another code than 0 ends the glidein. What they find out about the node is advertised: lines
# HAS_... = VALUE or GLIDEPOST_... = VALUE on standard output, where VALUE is a whole number, true, false or "text".
run_checks() {
  found_names='' found_lines='' number=0
  for name in ${GLIDEPOST_CHECKS:-}; do
    number=$((number + 1))
    value_of "GLIDEPOST_CHECK_${number}"
    printf '%s\n' "${value}" >"check-${name}.sh"
    run_check "${name}"
    rm -f "check-${name}.sh" check.out check.err
  done
}

# run_check NAME: runs the file check-NAME.sh. It sees what user jobs will, and what the glidein is to be.
run_check() {
  for variable in SITE SHAPE CPUS MEMORY_MIB DISK_MIB GPUS; do
    value_of "GLIDEPOST_${variable}"
    set -- "$@" "GLIDEPOST_${variable}=${value}"
  done
  while IFS= read -r line; do
    [ -z "${line}" ] || set -- "$@" "${line}"
  done <<LINES
${condor_environment}${user_environment}
LINES
  check=$1
  shift
  timeout -s KILL "${GLIDEPOST_CHECK_S}" env -i PATH=/usr/local/bin:/usr/bin:/bin "TMPDIR=${scratch}/tmp" LANG=C "$@" \
    sh "check-${check}.sh" >check.out 2>check.err &
  await
  end_leftovers
  say "check ${check} ended with ${child_status}"
  head -c 8192 check.out
  head -c 8192 check.err
  case ${child_status} in
    0) read_findings ;;
    124 | 137) finish_slowly "check-failed:${check}" "it took longer than ${GLIDEPOST_CHECK_S} s, or was killed" ;;
    *)
      problem=$(cat check.out check.err | tail -n 1 | cut -c 1-200)
      finish_slowly "check-failed:${check}" "it ended with ${child_status}: ${problem}"
      ;;
  esac
}

# Adds to `found_names` and `found_lines` what the last check has found out.
read_findings() {
  literal='(-?(0|[1-9][0-9]{0,17})|true|false|"[] !#-[^-~]{0,255}")'
  grep -E "^[A-Za-z][A-Za-z0-9_]{0,63} *= *${literal} *\$" check.out | head -n 64 >findings
  while IFS= read -r line; do
    attribute=${line%%[!A-Za-z0-9_]*}
    if printf %s "${attribute}" | grep -qE '^(HAS|GLIDEPOST)_.' &&
      ! printf %s "${attribute}" | grep -qixE 'GLIDEPOST_(Site|Shape|Pool|Glidein|BatchJob|Start)'; then
      found_names="${found_names}, ${attribute}"
      # shellcheck disable=SC2016  # for HTCondor, not for the shell
      found_lines=${found_lines}$(printf '%s\n' "${line}" | sed 's/\$/$(DOLLAR)/g')${NEWLINE}
      continue
    fi
    say "check ${check}: ${attribute} is not advertised: it must begin with HAS_ or GLIDEPOST_, and not be our own"
  done <findings
  rm -f findings
}
