# --- CVMFS

LOOK_S=20       # the longest that a mounted repository may take to answer
LOOK_FIRST_S=60 # the same where it is mounted for the look, with an empty cache

# Sets `cvmfs_way`, how user jobs get to CVMFS: native (mounted on the node), cvmfsexec (HTCondor runs inside of it, in
# a namespace of its own), parrot (each user job runs inside of it) or none; and `cvmfs_found`, the repositories that
# answered in that very way. The first way down the ladder that has all of them is taken, else the one with the most.
find_cvmfs() {
  cvmfs_way=none cvmfs_found='' cvmfs_folder='' cvmfs_mounts='' problem=''
  check_folder GLIDEPOST_CVMFSEXEC
  check_folder GLIDEPOST_PARROT
  [ -z "${problem}" ] || finish bad-request "${problem}"
  if [ -n "${GLIDEPOST_CVMFS:-}" ]; then
    write_look || finish no-scratch "cannot write into ${scratch}"
    try_cvmfs native "${CVMFS_MOUNT_DIR:-/cvmfs}"
    has_cvmfs || ! make_cvmfsexec || try_cvmfs cvmfsexec /cvmfs
    has_cvmfs || ! make_parrot || try_cvmfs parrot /cvmfs
    rm -f look look.log seen
  fi
  advertise_cvmfs
}

# 0 when no repository is missing.
has_cvmfs() {
  # shellcheck disable=SC2086  # words
  [ "$(words ${cvmfs_found})" = "$(words ${GLIDEPOST_CVMFS})" ]
}

words() { echo "$#"; }

advertise_cvmfs() {
  advertise GLIDEPOST_CVMFS "\"${cvmfs_way}\""
  for repository in ${GLIDEPOST_CVMFS:-}; do
    case " ${cvmfs_found} " in
      *" ${repository} "*) ;;
      *)
        say "this node does not have the CVMFS repository ${repository}"
        continue
        ;;
    esac
    advertise "HAS_CVMFS_$(printf %s "${repository}" | tr -c 'A-Za-z0-9' '_')" true
    # What user jobs of pyglidein look for.
    case ${repository} in
      oasis.opensciencegrid.org) advertise OASIS_CVMFS_Exists true ;;
      icecube.opensciencegrid.org) advertise ICECUBE_CVMFS_Exists true ;;
      *) ;;
    esac
  done
  if [ "${cvmfs_way}" = parrot ]; then advertise PYGLIDEIN_PARROT true; else advertise PYGLIDEIN_PARROT false; fi
}

# Writes the script `look`: `sh look SECONDS FOLDER REPOSITORY...` prints the repositories below the folder that answer.
# Each has a child of its own, for a mount that hangs is common: it lists the repository, which makes the automounter
# mount it, and reads from its first file. An empty folder is one where nothing is mounted.
write_look() {
  cat >look <<'SCRIPT'
seconds=$1 folder=$2
shift 2
for repository in "$@"; do
  (
    # shellcheck disable=SC2016  # for that shell
    timeout -s KILL "${seconds}" sh -c 'cd -- "$1" && [ -n "$(ls -A)" ] || exit 1
for entry in *; do
  [ -d "${entry}" ] && continue
  [ ! -e "${entry}" ] || head -c 1 -- "${entry}"
  exit
done' look "${folder}/${repository}" >/dev/null 2>&1 && printf "%s\n" "${repository}"
  ) &
done
wait
SCRIPT
}

# look SECONDS: sets `seen` to the repositories that answer in this `cvmfs_way`, in the order of the request. A child
# that hangs in the kernel cannot be killed at all: timeout does not wait for it when it sends KILL, and neither do we.
look() {
  limit=$(($1 + 5))
  # shellcheck disable=SC2086  # words
  set -- sh "${scratch}/look" "$1" "${cvmfs_folder}" ${GLIDEPOST_CVMFS}
  [ "${cvmfs_way}" != parrot ] || set -- "${scratch}/parrot" "$@"
  inside_for "${limit}" "$@" >seen 2>look.log &
  await || :
  seen=''
  for repository in ${GLIDEPOST_CVMFS}; do
    ! grep -qxF -e "${repository}" seen || seen="${seen} ${repository}"
  done
}

# try_cvmfs WAY FOLDER: takes this way if more repositories answer than in the one that was tried before.
try_cvmfs() {
  before=${cvmfs_way} folder_before=${cvmfs_folder}
  cvmfs_way=$1 cvmfs_folder=$2 cvmfs_mounts=${GLIDEPOST_CVMFS} seconds=${LOOK_FIRST_S}
  [ "$1" != native ] || seconds=${LOOK_S}
  look "${seconds}"
  # cvmfsexec gives up altogether when one of several cannot be mounted.
  [ "$1" != cvmfsexec ] || [ -n "${seen}" ] || look_at_each
  # shellcheck disable=SC2086  # words
  if [ "$(words ${seen})" -gt "$(words ${cvmfs_found})" ]; then
    cvmfs_found=${seen# }
    [ "$1" = native ] || cvmfs_mounts=${cvmfs_found}
    say "CVMFS: $1: ${cvmfs_found}"
    return 0
  fi
  say "CVMFS: $1: no more answers: $(grep -s . look.log | tail -n 1)"
  cvmfs_way=${before} cvmfs_folder=${folder_before} cvmfs_mounts=${cvmfs_found}
}

# Sets `seen` as `look` does, but mounts one after the other.
look_at_each() {
  all=''
  for each in ${GLIDEPOST_CVMFS}; do
    cvmfs_mounts=${each}
    look "${LOOK_FIRST_S}"
    all="${all}${seen}"
  done
  seen=${all}
}

# Makes this glidein's own cvmfsexec in scratch: it keeps mounts and cache in its own folder, and two of them in one
# folder break each other. What is large and only read stays where it is. 1 when there is none, or it cannot run here.
# (cvmfsexec: README.md of its repository; of its modes this is the third, in which a kill leaves no mount behind.)
make_cvmfsexec() {
  [ -n "${GLIDEPOST_CVMFSEXEC:-}" ] && expand "${GLIDEPOST_CVMFSEXEC}" || return 1
  source=${value%/}
  if ! command -v bash >/dev/null || ! run timeout -s KILL 10 unshare -rm true 2>/dev/null; then
    say 'CVMFS: cvmfsexec needs bash and user namespaces, and this node has not both'
    return 1
  fi
  rm -rf cvmfsexec
  if mkdir cvmfsexec && run timeout -s KILL 300 sh -c "${COPY_CVMFSEXEC}" sh "${source}" "${scratch}/cvmfsexec" &&
    { [ ! -d cvmfsexec/dist ] || configure_cvmfsexec; }; then
    return 0
  fi
  say "CVMFS: there is no cvmfsexec in ${source}"
  return 1
}

# shellcheck disable=SC2016  # for that shell
COPY_CVMFSEXEC='set -e
# A file that holds all of it unpacks itself into the folder that it is started in, which is our scratch.
[ ! -f "$1" ] || exec cp -- "$1" "$2/cvmfsexec"
cp -- "$1/cvmfsexec" "$2/"
[ -d "$1/dist" ] || exit 0
cp -- "$1/mountrepo" "$1/umountrepo" "$2/"
mkdir "$2/dist"
for entry in "$1"/dist/*; do
  case $1:${entry##*/} in
    *:cvmfs | *:var) ;;
    # (in there /cvmfs is another one)
    *:etc | /cvmfs/*) cp -R -- "${entry}" "$2/dist/" ;;
    *) ln -s -- "${entry}" "$2/dist/" ;;
  esac
done'

# The cache takes at most a quarter of the disk; the site's own settings stay.
configure_cvmfsexec() {
  settings=cvmfsexec/dist/etc/cvmfs/default.local
  mkdir -p "${settings%/*}" && chmod -R u+w cvmfsexec/dist/etc && touch "${settings}" || return
  quota=$((disk_mib / 4))
  [ "${quota}" -le 4000 ] || quota=4000
  grep -q '^CVMFS_QUOTA_LIMIT=' "${settings}" || echo "CVMFS_QUOTA_LIMIT=${quota}" >>"${settings}"
  [ -z "${GLIDEPOST_PROXY:-}" ] || grep -q '^CVMFS_HTTP_PROXY=' "${settings}" ||
    echo "CVMFS_HTTP_PROXY='${GLIDEPOST_PROXY}'" >>"${settings}"
}

# Writes the program `parrot`, which runs a command inside of Parrot. All of them share a cache in scratch, as only an
# "alien" cache can be shared, but each has its own temporary files. 1 when there is none.
make_parrot() {
  [ -n "${GLIDEPOST_PARROT:-}" ] && expand "${GLIDEPOST_PARROT}" || return 1
  if [ ! -x "${value}" ]; then
    say "CVMFS: there is no parrot_run at ${value}"
    return 1
  fi
  {
    # shellcheck disable=SC2016  # for that shell
    printf '%s\n' '#!/bin/sh' ': "${PARROT_CVMFS_REPO:=<default-repositories>}"' \
      'export PARROT_CVMFS_REPO PARROT_ALLOW_SWITCHING_CVMFS_REPOSITORIES=yes' \
      "export PARROT_CVMFS_ALIEN_CACHE='${scratch}/parrot.cache'" "program=$(quoted "${value}")" \
      "exec \"\${program}\" -t \"\${_CONDOR_SCRATCH_DIR:-${scratch}/tmp}/.parrot\" \"\$@\""
  } >parrot && chmod 700 parrot && mkdir -p parrot.cache
}
