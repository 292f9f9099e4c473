# --- setup and environment

# Writes the file `environ`, a line NAME=value for each variable that the batch job's environment has once the site's
# setup lines have run. They have a shell of their own, so that nothing they do can disturb this one: bash where there
# is one, as in most batch scripts, and it knows `module` as a login shell does. A line that fails is passed over,
# unless there is a `set -e` before it; `exit` ends the glidein.
run_setup() {
  shell=$(command -v sh) lines=''
  if [ -n "${GLIDEPOST_SETUP:-}" ]; then
    shell=$(command -v bash || command -v sh)
    # shellcheck disable=SC2016  # expanded there
    lines='command -v module >/dev/null 2>&1 || [ ! -r /etc/profile ] || . /etc/profile'${NEWLINE}${GLIDEPOST_SETUP}
  fi
  set -- "PATH=${batch_path}"
  [ -z "${batch_lc_all}" ] || set -- "$@" "LC_ALL=${batch_lc_all}"
  [ -z "${batch_ld_library_path}" ] || set -- "$@" "LD_LIBRARY_PATH=${batch_ld_library_path}"
  [ -z "${batch_ld_preload}" ] || set -- "$@" "LD_PRELOAD=${batch_ld_preload}"
  run timeout -s KILL "${GLIDEPOST_SETUP_S}" env -u LC_ALL "$@" "${shell}" -c "umask ${batch_umask}
${lines}
umask 077
command -p cat /proc/self/environ >'${scratch}/environ.raw'"
  case ${child_status}:$([ ! -s environ.raw ] || echo whole) in
    *:whole) ;;
    124: | 137:) finish_slowly setup-failed "the setup took longer than ${GLIDEPOST_SETUP_S} s, or was killed" ;;
    *) finish_slowly setup-failed "a line of the setup called exit, or is no shell: it ended with ${child_status}" ;;
  esac
  # A newline within a value becomes \001, which plan_environment refuses with other such characters.
  tr '\n\000' '\001\n' <environ.raw >environ
  rm -f environ.raw
}

# Sets `value` to what `environ` says of the variable named $1.
from_environ() { value=$(sed -n "s/^$1=//p" environ | tail -n 1); }

tell_condor() {
  condor_environment=${condor_environment}$1=$2${NEWLINE}
  case $1 in *_proxy | *_PROXY) export "$1=$2" ;; *) ;; esac # for downloads too
}

# tell NAME VALUE: lets HTCondor and user jobs see a variable.
tell() {
  case $2 in
    *[[:cntrl:]]*)
      say "$1 is left out of the environment: its value is not one line of text"
      return 0
      ;;
    *) ;;
  esac
  case $1 in
    # HTCondor gives each user job its own part of what it was given, and nothing to those that asked for none.
    CUDA_VISIBLE_DEVICES | GPU_DEVICE_ORDINAL | ROCR_VISIBLE_DEVICES | HIP_VISIBLE_DEVICES | ZE_AFFINITY_MASK)
      note_gpus "$1" "$2"
      ;;
    NVIDIA_VISIBLE_DEVICES) ;;
    # These would decide which libraries and programs HTCondor itself runs with.
    PATH | LD_*) user_environment=${user_environment}$1=$2${NEWLINE} ;;
    *)
      tell_condor "$1" "$2"
      user_environment=${user_environment}$1=$2${NEWLINE}
      ;;
  esac
}

# Sets `condor_environment` and `user_environment`: lines NAME=value, of which the last counts, for HTCondor and for
# user jobs. Of all that a batch job has, a user job sees what the site names, and no more.
plan_environment() {
  condor_environment='' user_environment=''
  for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    from_environ "${variable}"
    [ -z "${value}" ] || tell_condor "${variable}" "${value}"
  done
  note_batch_gpus
  for variable in ${GLIDEPOST_KEEP:-}; do
    from_environ "${variable}"
    if [ -n "${value}" ]; then tell "${variable}" "${value}"; else say "${variable} cannot be kept: it is not set"; fi
  done
  [ -z "${GLIDEPOST_PROXY:-}" ] || for variable in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do
    tell "${variable}" "${GLIDEPOST_PROXY}"
  done
  while IFS= read -r line; do
    [ -n "${line}" ] || continue
    if expand "${line#*=}" from_environ; then
      tell "${line%%=*}" "${value}"
    else
      say "${line%%=*} is left out of the environment: a variable of its text is not set on this node"
    fi
  done <<LINES
${GLIDEPOST_ENVIRONMENT:-}
LINES
  rm -f environ
}

# Prints user_environment as HTCondor's configuration wants it: NAME='value', with quotes doubled; $(...) is a macro.
quote_environment() {
  # shellcheck disable=SC2016  # for HTCondor, not for the shell
  printf %s "${user_environment}" |
    sed -e "s/'/''/g" -e 's/"/""/g' -e 's/\$/$(DOLLAR)/g' -e "s/=/='/" -e "s/\$/'/" | tr '\n' ' '
}
