# --- inside of an image, or of cvmfsexec

IMAGE_S=600 # the longest that it may take to fetch or read an image

# quoted TEXT: prints it as one word of sh.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

# inside COMMAND...: becomes the command, as HTCondor and user jobs will see the node: inside of the site's image where
# it named one, and of cvmfsexec where that is the way to CVMFS.
inside() {
  if [ -n "${glidein_image:-}" ]; then
    set -- "${glidein_image}" "$@"
    [ "${gpus}" = 0 ] || [ ! -e /dev/nvidiactl ] || set -- --nv "$@"
    [ "${gpus}" = 0 ] || [ ! -e /dev/kfd ] || set -- --rocm "$@"
    for bind in ${binds}; do set -- -B "${bind}" "$@"; done
    case ${cvmfs_way:-}:${cvmfs_folder:-} in
      native:/* | cvmfsexec:/*) set -- -B "${cvmfs_folder}" "$@" ;;
      *) ;;
    esac
    set -- "${image_program}" -s exec --contain --no-home --pwd "${scratch}" -B "${scratch}" "$@"
    for variable in APPTAINER SINGULARITY; do
      set -- "${variable}_CACHEDIR=${scratch}/tmp" "${variable}_TMPDIR=${scratch}/tmp" \
        "${variable}_CONFIGDIR=${scratch}/tmp/apptainer" "$@"
    done
  fi
  if [ "${cvmfs_way:-}" = cvmfsexec ]; then
    # Through that descriptor user jobs could have other repositories mounted, and these unmounted.
    # shellcheck disable=SC2016,SC2086  # for that shell; words
    set -- "${scratch}/cvmfsexec/cvmfsexec" ${cvmfs_mounts} -- \
      bash -c 'exec {CVMFSEXEC_CMDFD}>&-; exec env "$@"' bash "$@"
  fi
  for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    value_of "${variable}"
    [ -z "${value}" ] || set -- "${variable}=${value}" "$@"
  done
  # shellcheck disable=SC2086  # words
  exec ${inside_prefix:-} env -i "PATH=${PATH}" "TMPDIR=${scratch}/tmp" "$@"
}

# inside_for SECONDS COMMAND...: the same, but killed after so many seconds.
inside_for() {
  inside_prefix="timeout -s KILL $1"
  shift
  inside "$@"
}

# Sets `binds`, `glidein_image` (empty: HTCondor runs on the node itself) and `os_release`, the file that says which
# system HTCondor will run on; ends the glidein where the site's image cannot be used.
take_image() {
  binds='' glidein_image='' image_program='' os_release=/etc/os-release problem=''
  for variable in APPTAINER USER_IMAGE GLIDEIN_IMAGE; do check_line "GLIDEPOST_${variable}"; done
  take_binds
  [ -z "${problem}" ] || finish bad-request "${problem}"
  [ -n "${GLIDEPOST_GLIDEIN_IMAGE:-}" ] || return 0
  program=${GLIDEPOST_APPTAINER:-}
  [ -n "${program}" ] || program=apptainer
  expand "${program}" || finish_slowly check-failed:apptainer "a variable of ${program} is not set on this node"
  image_program=$(command -v "${value}" || command -v singularity) ||
    finish_slowly check-failed:apptainer "this node has no ${value}, and HTCondor is to run in an image"
  take_pinned "${GLIDEPOST_GLIDEIN_IMAGE}" || finish_slowly check-failed:image "${problem}"
  glidein_image=${value} os_release=${scratch}/os-release
  inside_for "${IMAGE_S}" cat /etc/os-release >os-release 2>image.log &
  await || finish_slowly check-failed:image \
    "${image_program} cannot run cat in ${glidein_image}: $(grep . image.log | tail -n 1 | cut -c 1-200)"
  rm -f image.log
  say "HTCondor runs in the image ${glidein_image}"
}

# What ends up in HTCondor's configuration, in a string of a ClassAd.
take_binds() {
  while IFS= read -r line; do
    [ -n "${line}" ] || continue
    if ! expand "${line}"; then
      say "the bind ${line} is left out: a variable of it is not set on this node"
      continue
    fi
    case ${value} in
      [!/]* | *[!A-Za-z0-9._/@+=:-]*) bad "GLIDEPOST_BINDS: '${value}' is not FOLDER, FOLDER:PLACE or FOLDER:PLACE:ro" ;;
      *) binds="${binds}${binds:+ }${value}" ;;
    esac
  done <<LINES
${GLIDEPOST_BINDS:-}
LINES
}

# take_pinned IMAGE: sets `value` to an image as Apptainer takes it; 1 with `problem` when it must not be used. A file
# may be pinned as PATH@sha256:HASH, which is looked at here, for Apptainer would not; what comes from a registry may be
# docker://NAME@sha256:HASH, and there Apptainer itself takes no other.
take_pinned() {
  problem=''
  case $1 in
    *[!A-Za-z0-9._/@+=:~\$\{\}-]*) problem="the image '$1' holds characters that a path or address here may not" ;;
    *://*) value=$1 ;;
    *) expand "${1%@sha256:*}" || problem="a variable of the image $1 is not set on this node" ;;
  esac
  case ${problem}:$1 in
    :*://*) ;;
    :*@sha256:*)
      inside_for "${IMAGE_S}" sha256sum -- "${value}" >digest 2>/dev/null &
      await || problem="cannot read the image ${value}"
      digest=$(cut -c 1-64 digest)
      [ -n "${problem}" ] || [ "${digest}" = "${1##*@sha256:}" ] ||
        problem="the image ${value} has sha256 ${digest} where the site says ${1##*@sha256:}"
      rm -f digest
      ;;
    :*)
      case ${value} in /*) ;; *) problem="the image '${value}' is neither an absolute path nor an address" ;; esac
      ;;
    *) ;;
  esac
  [ -z "${problem}" ]
}

# signal_condor SIGNAL: inside of something else HTCondor is not our child, and what is may not pass signals on.
signal_condor() {
  if [ -z "${glidein_image}" ] && [ "${cvmfs_way}" != cvmfsexec ]; then
    kill -s "$1" "${child}" 2>/dev/null
    return
  fi
  # shellcheck disable=SC2013  # these are words: /proc/<number>/environ
  for entry in $(grep -lsF -e "CONDOR_CONFIG=${scratch}/condor_config" /proc/[0-9]*/environ); do
    read -r name 2>/dev/null <"${entry%/environ}/comm" || name=''
    [ "${name}" != condor_master ] || kill -s "$1" "$(basename "${entry%/environ}")" 2>/dev/null
  done
}

# outlive_signals WORD: what HTCondor runs inside of must not end before it does, where a batch system signals all of its
# processes; but only where `env` lets HTCondor have these signals again, which WORD tells.
outlive_signals() {
  [ -n "${glidein_image}" ] || [ "${cvmfs_way}" = cvmfsexec ] || return 0
  # shellcheck disable=SC2086  # a list of signals
  case $1 in --default-signal=*) trap '' ${SIGNALS} ;; *) ;; esac
}
