# --- the request

bad() {
  printf 'glidein: bad request: %s\n' "$(printable "$1")" >&2
  : "${problem:=$1}"
}

# check_text VARIABLE CHARACTERS [optional]
check_text() {
  value_of "$1"
  case ${value} in
    '') [ "${3-}" = optional ] || bad "$1 is missing" ;;
    *[!$2]*) bad "$1 may only hold the characters $2: '${value}'" ;;
    *) ;;
  esac
}

# check_number VARIABLE LEAST
check_number() {
  value_of "$1"
  case ${value} in
    '') bad "$1 is missing" ;;
    *[!0-9]* | 0?* | ??????????*) bad "$1 is not a whole number below 10^9: '${value}'" ;;
    *) [ "${value}" -ge "$2" ] || bad "$1 must be at least $2: ${value}" ;;
  esac
}

# One line of condor_config: a newline or a trailing backslash would reach into the next line.
check_line() {
  value_of "$1"
  case ${value} in
    *[!\ -~]* | *\\) bad "$1 must be one line of printable ASCII without a backslash at its end" ;;
    *) ;;
  esac
}

# check_folder VARIABLE: empty or an absolute path, or one that $VAR or ~ starts.
check_folder() {
  check_line "$1"
  # shellcheck disable=SC2088  # `expand` takes care of the ~
  case ${value} in
    '' | /* | '$'* | '~' | '~/'*) ;;
    *) bad "$1 is not an absolute path: '${value}'" ;;
  esac
}

check_collectors() {
  check_text GLIDEPOST_COLLECTORS 'A-Za-z0-9.: -'
  for collector in ${value}; do
    case ${collector} in
      *:*:* | :* | *: | *:*[!0-9]*) bad "GLIDEPOST_COLLECTORS: '${collector}' is not host:port" ;;
      *:*) ;;
      *) bad "GLIDEPOST_COLLECTORS: '${collector}' has no port" ;;
    esac
  done
}

check_environment() {
  check_text GLIDEPOST_KEEP 'A-Za-z0-9_ ' optional
  check_line GLIDEPOST_PROXY
  case ${value} in '' | http://?*) ;; *) bad "GLIDEPOST_PROXY is not a http URL: '${value}'" ;; esac
  while IFS= read -r line; do
    case ${line%%=*} in
      '') [ -z "${line}" ] || bad "GLIDEPOST_ENVIRONMENT: '${line}' is not NAME=text" ;;
      "${line}" | [0-9]* | *[!A-Za-z0-9_]*) bad "GLIDEPOST_ENVIRONMENT: '${line}' is not NAME=text" ;;
      *) ;;
    esac
  done <<LINES
${GLIDEPOST_ENVIRONMENT:-}
LINES
}

check_request() {
  [ "$(id -u)" != 0 ] || bad 'a glidein does not run as root: user jobs would be root too'
  check_text GLIDEPOST_NAME 'a-z0-9-'
  [ "${#value}" -le 15 ] || bad "GLIDEPOST_NAME has more than 15 characters: '${value}'"
  for variable in SITE GLIDEIN_SITE SHAPE POOL; do check_text "GLIDEPOST_${variable}" 'A-Za-z0-9_.-'; done
  for variable in CPUS MEMORY_MIB DISK_MIB WALLTIME_S IDLE_S UPDATE_S; do check_number "GLIDEPOST_${variable}" 1; done
  for variable in GPUS RETIRE_S; do check_number "GLIDEPOST_${variable}" 0; done
  check_collectors
  check_folder GLIDEPOST_TOKEN_FILE
  [ -n "${value}" ] || bad 'GLIDEPOST_TOKEN_FILE is missing'
  check_tarballs
  for variable in SCRATCH CACHE OUTCOMES; do check_folder "GLIDEPOST_${variable}"; done
  for variable in START GPU_DISCOVERY; do check_line "GLIDEPOST_${variable}"; done
  check_text GLIDEPOST_CVMFS 'A-Za-z0-9. -' optional
  check_text GLIDEPOST_NETWORK_INTERFACE 'A-Za-z0-9.:_*-' optional
  check_environment
  check_text GLIDEPOST_CHECKS 'a-z0-9 -' optional
  : "${GLIDEPOST_SETUP_S:=300}" "${GLIDEPOST_CHECK_S:=60}" "${GLIDEPOST_FAIL_PAUSE_S:=300}"
  for variable in SETUP_S CHECK_S; do check_number "GLIDEPOST_${variable}" 1; done
  check_number GLIDEPOST_FAIL_PAUSE_S 0
  if [ -z "${problem}" ] && [ "${GLIDEPOST_RETIRE_S}" -ge "${GLIDEPOST_WALLTIME_S}" ]; then
    bad "GLIDEPOST_RETIRE_S=${GLIDEPOST_RETIRE_S} leaves nothing of GLIDEPOST_WALLTIME_S=${GLIDEPOST_WALLTIME_S}"
  fi
  [ -z "${problem}" ] || finish bad-request "${problem}"
}

