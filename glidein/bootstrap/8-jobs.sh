# --- user jobs

# Adds to condor_config how user jobs are started: through a wrapper, and in containers.
plan_jobs() {
  problem=''
  for variable in ${GLIDEPOST_JOB_SETUP:+JOB_SETUP}; do
    printf '%s\n' "${GLIDEPOST_JOB_SETUP}" >job_setup || finish no-scratch "cannot write into ${scratch}"
    sh -n job_setup 2>job_setup.log || finish_slowly setup-failed "job_setup is no shell: $(tail -n 1 job_setup.log)"
    rm -f job_setup.log
  done
  plan_containers
  plan_wall
  { write_wrapper >wrapper && chmod 755 wrapper; } || finish no-scratch "cannot write into ${scratch}"
  configure "USER_JOB_WRAPPER = ${scratch}/wrapper"
  advertise GLIDEPOST_Wrapped true
  advertise GLIDEPOST_TokenHidden "${walled}"
}

# --- containers

# Prints path and version of the first program of those given that runs something in a container: in a folder with
# nothing but the node's own programs, so that it needs no image. Runs inside of what user jobs will run in.
# shellcheck disable=SC2016  # for that shell
TRY_CONTAINERS='scratch=$1
shift
cd "${scratch}/sandbox" || exit
export APPTAINER_CACHEDIR="${scratch}/tmp" APPTAINER_CONFIGDIR="${scratch}/tmp" SINGULARITY_CACHEDIR="${scratch}/tmp"
binds=""
for folder in bin lib lib32 lib64 usr; do
  [ ! -d "/${folder}" ] || { mkdir -p "${folder}" && binds="${binds},/${folder}"; }
done
export APPTAINER_BIND="${binds#,}" SINGULARITY_BIND="${binds#,}"
for name in "$@"; do
  program=$(command -v "${name}") || continue
  version=$(timeout -s KILL 20 "${program}" --version) || continue
  timeout -s KILL 40 "${program}" -s exec --contain --no-home "${scratch}/sandbox" /exit_37
  [ "$?" = 37 ] || { echo "${program} runs nothing" >&2; continue; }
  printf "%s\n%s\n%s\n" "${program}" "${version}" "${binds#,}"
  break
done'

# Sets `container` to the program that runs user jobs in containers; empty when none works.
find_container() {
  container='' version=''
  make_sandbox || finish no-scratch "cannot write into ${scratch}"
  if [ -n "${GLIDEPOST_APPTAINER:-}" ]; then
    expand "${GLIDEPOST_APPTAINER}" || value=''
    set -- "${value:-apptainer}"
  else
    oasis=${cvmfs_folder:-/cvmfs}/oasis.opensciencegrid.org/mis
    set -- apptainer singularity
    case "${cvmfs_way} ${cvmfs_found} " in
      parrot*) ;; # (which cannot run what makes namespaces)
      *' oasis.opensciencegrid.org '*)
        set -- "$@" "${oasis}/apptainer/current/bin/apptainer" "${oasis}/singularity/bin/singularity"
        ;;
      *) ;;
    esac
  fi
  inside_for 150 sh -c "${TRY_CONTAINERS}" sh "${scratch}" "$@" >container.out 2>container.log &
  await || :
  program=$(sed -n 1p container.out) version=$(sed -n 2p container.out)
  case ${program} in
    /*) write_container "${program}" "$(sed -n 3p container.out)" || finish no-scratch "cannot write into ${scratch}" ;;
    *) say "containers: none: $(grep . container.log | tail -n 1 | cut -c 1-200)" ;;
  esac
  rm -f container.out container.log
}

# HTCondor advertises what containers can do once it has run two programs in this folder, and brings none with it that
# is sure to be in the tarball. These need the node's /bin/sh, for which `container` cares.
make_sandbox() {
  mkdir -p sandbox && (cd sandbox && mkdir -p dev etc proc sys tmp var/tmp) &&
    printf '#!/bin/sh\nexit 37\n' >sandbox/exit_37 &&
    printf '#!/bin/sh\nreadlink /proc/self/ns/user | tr -dc 0-9\nexit 37\n' >sandbox/get_user_ns &&
    chmod 755 sandbox sandbox/exit_37 sandbox/get_user_ns
}

# write_container PROGRAM BINDS: writes the program `container`, by which HTCondor runs Apptainer. What Apptainer keeps
# for itself stays in scratch: it would fill the account's home.
write_container() {
  {
    printf '%s\n' '#!/bin/sh' \
      "export APPTAINER_CONFIGDIR='${scratch}/tmp/apptainer'" \
      "case \" \$* \" in *' ${scratch}/sandbox /'*) export APPTAINER_BIND='$2' SINGULARITY_BIND='$2' ;; *) ;; esac"
    printf 'exec %s "$@"\n' "$(quoted "$1")"
  } >container && chmod 755 container && container=${scratch}/container
}

# User jobs say what they want by container_image, docker_image or SingularityImage, and get the site's image when they
# say nothing and it has one. HTCondor asks Apptainer to contain them wholly, adds --nv where they have a GPU, and puts
# caches into their own folder. A user job's own wish for binds is not listened to.
plan_containers() {
  find_container
  if [ -z "${container}" ]; then
    [ -z "${GLIDEPOST_USER_IMAGE:-}" ] ||
      finish_slowly check-failed:apptainer 'user jobs are to run in an image, and no program for that works on this node'
    configure 'SINGULARITY ='
    return 0
  fi
  default=undefined
  if [ -n "${GLIDEPOST_USER_IMAGE:-}" ]; then
    take_pinned "${GLIDEPOST_USER_IMAGE}" || finish_slowly check-failed:image "${problem}"
    default="\"${value}\""
  fi
  bound=${binds}
  case ${cvmfs_way} in native | cvmfsexec) bound="${bound}${bound:+ }${cvmfs_folder}" ;; *) ;; esac
  say "containers: ${version} at ${program}${GLIDEPOST_USER_IMAGE:+; ${GLIDEPOST_USER_IMAGE} for user jobs that name none}"
  configure "SINGULARITY = ${container}
SINGULARITY_TEST_SANDBOX = ${scratch}/sandbox
# (a path of the node may lie below a folder that they have for themselves, such as /tmp)
SINGULARITY_TARGET_DIR = /srv
SINGULARITY_JOB = TARGET.SingularityImage isnt undefined || ${default} isnt undefined
SINGULARITY_IMAGE_EXPR = ifThenElse(TARGET.SingularityImage isnt undefined, TARGET.SingularityImage, \
ifThenElse(TARGET.ContainerImage isnt undefined || TARGET.DockerImage isnt undefined, undefined, ${default}))
SINGULARITY_BIND_EXPR = \"${bound}\"
SINGULARITY_MOUNT_HOME = false"
  [ ! -e /dev/kfd ] || configure 'SINGULARITY_EXTRA_ARGUMENTS = ifThenElse(AssignedGPUs isnt undefined, "--rocm", "")'
  advertise HAS_SINGULARITY true
  advertise HAS_APPTAINER true
}

# --- the wall

# Sets `walled`: whether user jobs can be kept from the token, the log form, and the site's key, which opens the mailbox
# with both. They run as the account that may read it, so its mode is no wall; but in a user namespace of their own, with other folders mounted over those that hold it, they cannot undo
# that, nor see through /proc what processes outside see. In a container of Apptainer they see none of it anyway.
# (The token cannot go once HTCondor has it: it is read again when the collector has been started anew.)
# What stays: another place where the account keeps the token, and the folder of a glidein that comes to this node
# after the user job has started; and where `walled` is false, all of it.
plan_wall() {
  walled=false
  [ "${GLIDEPOST_HIDE_TOKEN:-yes}" != no ] || return 0
  mkdir -p nothing
  write_wall >wall || finish no-scratch "cannot write into ${scratch}"
  # shellcheck disable=SC2016  # for that shell
  inside_for 20 unshare -rm sh "${scratch}/wall" "$(id -u)" "$(id -g)" /dev/null sh -c '! ls "$1"/* && [ "$(id -u)" = "$2" ]' sh \
      "${scratch}/tokens.d" "$(id -u)" >wall.log 2>&1 &
  if await; then
    walled=true
  else
    say "user jobs could read the token: this node gives them no namespaces: $(grep . wall.log | tail -n 1 | cut -c 1-200)"
  fi
  rm -f wall.log
}

# Prints the script `wall`: `unshare -rm sh wall UID GID FILE COMMAND...` runs the command behind the wall, as that
# user; what goes wrong is said in the file.
write_wall() {
  expand "${GLIDEPOST_TOKEN_FILE}" || value=''
  token=${value} program='' form_file='' key_file=''
  ! expand "${GLIDEPOST_LOG_FORM:-}" || form_file=${value}
  ! expand "${GLIDEPOST_KEY_FILE:-}" || key_file=${value}
  ! expand "${GLIDEPOST_PARROT:-}" || program=${value}
  # A token that the puller renews comes out from under a file that is mounted over it; so hide the folder that it is
  # in, the puller's state, where user jobs have no business, unless they need something in there.
  how='file' folder=${token%/*}
  if [ -n "${folder}" ] && [ "${GLIDEPOST_OUTCOMES:-}" = "${folder}/outcomes" ]; then
    how=folder
    for needed in "${scratch}" "${program}" "${HOME:-}"; do
      case ${needed}/ in "${folder}"/*) how='file' ;; *) ;; esac
    done
  fi
  # shellcheck disable=SC2016  # for that shell
  printf '%s\n' 'uid=$1 gid=$2 said=$3' 'shift 3' \
    'cannot() { echo "glidein: cannot hide $1" >"${said}"; exit 1; }' \
    'hide_file() { [ ! -f "$1" ] || mount --bind /dev/null "$1" || cannot "$1"; }' \
    "hide_folder() { [ ! -d \"\$1\" ] || mount --bind '${scratch}/nothing' \"\$1\" || cannot \"\$1\"; }" \
    "hide_folder '${scratch}/tokens.d'" "hide_folder '${scratch}/keys.d'" \
    '# (a neighbour may just be leaving)' \
    "for folder in '${scratch%/*}'/glidepost-*/tokens.d '${scratch%/*}'/glidepost-*/keys.d; do" \
    "  [ ! -d \"\${folder}\" ] || mount --bind '${scratch}/nothing' \"\${folder}\" 2>/dev/null" 'done'
  [ "${how}" != folder ] || printf 'hide_folder %s\n' "$(quoted "${folder}")"
  batch_folder=${batch_folder%/}
  for hidden in "${token}" "${batch_folder}/${GLIDEPOST_TOKEN_FILE##*/}" \
    "${key_file}" "${form_file}" ${form_file:+"${batch_folder}/${form_file##*/}"}; do
    printf 'hide_file %s\n' "$(quoted "${hidden}")"
  done
  # shellcheck disable=SC2016  # for that shell
  printf '%s\n' 'exec unshare --map-user="${uid}" --map-group="${gid}" -- "$@"'
}

# --- the wrapper

# Prints the program that HTCondor starts each user job by. What goes wrong in it is not the user job's failure: it says
# so in a file, and HTCondor gives the user job back to the queue.
# It stays until the user job has ended. Some batch systems end a batch job by TERM or INT to all of its processes, the
# user job's first, and HTCondor would take what died of it for a user job that has come to its end. So where one ends
# while its glidein leaves, HTCondor hears of no end, and in its shutdown gives the user job back to the queue.
write_wrapper() {
  default_signals="$(command -v env) --default-signal=INT,QUIT"
  ${default_signals} true 2>/dev/null || default_signals=''
  printf '%s\n' '#!/bin/sh' "_glidepost_scratch='${scratch}' _glidepost_container=$(quoted "${container}")" \
    "_glidepost_walled=${walled} _glidepost_way=${cvmfs_way} _glidepost_user='$(id -u) $(id -g)'" \
    "_glidepost_sleep=$(command -v sleep) _glidepost_env='${default_signals}' _glidepost_leave_s=$((KILL_AFTER_S + 5))"
  cat <<'SCRIPT'
_glidepost_error=${_CONDOR_WRAPPER_ERROR_FILE:-/dev/null}
unset _CONDOR_WRAPPER_ERROR_FILE

# Not at once, for the next user job would find the same.
_glidepost_broken() {
  trap - EXIT
  printf 'glidein: %s\n' "$1" >"${_glidepost_error}"
  sleep 20
  exit 1
}

# The site's lines run in this shell, with functions' own arguments; what they print is not the user job's output.
_glidepost_set_up() { . "${_glidepost_scratch}/job_setup"; }

# What they have set reaches a container under another name.
_glidepost_tell_container() {
  for _glidepost_name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case ${_glidepost_name} in
      PWD | OLDPWD | SHLVL | _ | HOME | APPTAINER* | SINGULARITY* | _CONDOR_*) continue ;;
    esac
    eval "_glidepost_value=\${${_glidepost_name}-}"
    case "
${_glidepost_before}
" in
      *"
${_glidepost_name}=${_glidepost_value}
"*) ;;
      *) export "APPTAINERENV_${_glidepost_name}=${_glidepost_value}" "SINGULARITYENV_${_glidepost_name}=${_glidepost_value}" ;;
    esac
  done
}

# HTCondor tells this process alone when the user job is to end, by the signal that the user job has asked for.
_glidepost_pass_on() {
  _glidepost_again=yes _glidepost_told=$1
  [ -z "${_glidepost_child}" ] || kill -s "$1" "${_glidepost_child}" 2>/dev/null
}

# Sets `_glidepost_status`, as a shell tells it, once the user job has ended.
_glidepost_run() {
  _glidepost_child='' _glidepost_told=''
  for _glidepost_signal in ${_glidepost_signals}; do
    # shellcheck disable=SC2064  # the name is meant to expand now
    trap "_glidepost_pass_on ${_glidepost_signal}" "${_glidepost_signal}"
  done
  # (a shell would start it without standard input, and deaf to INT and QUIT)
  exec 3<&0
  # shellcheck disable=SC2086  # two words, or none
  ${_glidepost_env} "$@" <&3 3<&- &
  _glidepost_child=$!
  # A signal that came before `_glidepost_child` was set has not reached the user job.
  [ -z "${_glidepost_told}" ] || kill -s "${_glidepost_told}" "${_glidepost_child}" 2>/dev/null
  _glidepost_again=yes
  while [ "${_glidepost_again}" = yes ]; do
    _glidepost_again=no
    wait "${_glidepost_child}"
    _glidepost_status=$?
  done
}

# The glidein's own shell may hear of its end a little later than the user job.
_glidepost_wait_for_shutdown() {
  for _glidepost_look in 1 2 3 4 5 6 7 8 9 10; do
    if [ -e "${_glidepost_scratch}/leaving" ]; then
      "${_glidepost_sleep}" "${_glidepost_leave_s}"
      return
    fi
    [ "${_glidepost_status}${_glidepost_told}" != 0 ] || return 0
    "${_glidepost_sleep}" 0.2
  done
}

# Ends as the user job has ended: by the same signal, if it is one that ends a process.
_glidepost_end() {
  # shellcheck disable=SC2086  # a list of signals
  trap - ${_glidepost_signals}
  _glidepost_number=$((_glidepost_status - 128))
  case ${_glidepost_number} in
    -* | 0 | 19 | 2[0-2]) ;;
    *) ulimit -c 0 && kill -"${_glidepost_number}" "$$" 2>/dev/null ;;
  esac
  exit "${_glidepost_status}"
}

if [ -e "${_glidepost_scratch}/job_setup" ]; then
  _glidepost_before=$(env)
  _glidepost_here=$(pwd)
  trap '_glidepost_broken "a line of job_setup called exit, or is no shell"' EXIT
  _glidepost_set_up >&2
  trap - EXIT
  set +efu
  cd -- "${_glidepost_here}" || _glidepost_broken "cannot go back to ${_glidepost_here}"
  [ "$1" != "${_glidepost_container}" ] || _glidepost_tell_container
fi
# In a container neither the wall is needed nor Parrot possible.
if [ "$1" != "${_glidepost_container}" ]; then
  [ -x "$1" ] || _glidepost_broken "cannot execute $1"
  [ "${_glidepost_way}" != parrot ] || set -- "${_glidepost_scratch}/parrot" "$@"
  # shellcheck disable=SC2086  # two words
  [ "${_glidepost_walled}" != true ] || set -- unshare -rm sh "${_glidepost_scratch}/wall" ${_glidepost_user} "${_glidepost_error}" "$@"
fi
_glidepost_signals='HUP INT QUIT TERM USR1 USR2 ALRM XCPU'
_glidepost_run "$@"
_glidepost_wait_for_shutdown
_glidepost_end
SCRIPT
}
