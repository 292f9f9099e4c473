# --- the cache of tarballs
#
# It is shared by the glideins of a node, or of a whole cluster. Nothing that comes out of it is believed before it is
# checked, and what goes in gets its name in one move; so a lock only saves downloads, and whoever cannot get it, or
# waits too long, goes on without.

CACHE_S=120      # the longest that the cache's file system may take for one thing
CACHE_WAIT_S=120 # the longest to wait for another glidein that downloads

# Sets `cached`: where the tarball is, or will be; empty without a cache.
find_cache() {
  cached='' held=''
  [ -n "${GLIDEPOST_CACHE:-}" ] || return 0
  expand "${GLIDEPOST_CACHE}" || {
    say "no cache: a variable of ${GLIDEPOST_CACHE} is not set on this node"
    return 0
  }
  cached=${value%/}/${sha256}.tar.gz
}

forget_cache() {
  say "the cache ${cached%/*} does not answer: going on without"
  cached=''
}

# Takes the copy in the cache as `tarball`; 1 when there is none that is good. A copy is made before it is checked, so
# that nobody can swap it after; a named pipe would hold us for ever.
take_from_cache() {
  [ -n "${cached}" ] || return 1
  # shellcheck disable=SC2016  # expanded there
  run timeout -s KILL "${CACHE_S}" sh -c '[ -f "$1" ] || exit 3; exec cp -- "$1" tarball' - "${cached}" 2>/dev/null
  case ${child_status} in
    0)
      is_intact tarball && return 0
      say "${cached} ${difference}: taking another"
      rm -f -- "${cached}" 2>/dev/null
      ;;
    3) ;;
    124 | 137) forget_cache ;;
    *) say "${cached} cannot be read: taking another" ;;
  esac
  return 1
}

put_into_cache() {
  [ -n "${cached}" ] || return 0
  # What glideins have left there that were killed goes too. (Others may read it: there is no secret in it.)
  # shellcheck disable=SC2016  # expanded there
  run timeout -s KILL "${CACHE_S}" sh -c 'mkdir -p -- "${1%/*}" && rm -f -- "$1".*.part && cp -- tarball "$2" &&
    chmod 644 "$2" && mv -f -- "$2" "$1" || { rm -f -- "$2"; exit 1; }' - "${cached}" "${cached}.${glidein}.part" \
    2>/dev/null && return 0
  say "could not put the tarball into the cache as ${cached}"
}

# Waits until no other glidein downloads this tarball. Sets `held` to how it keeps others waiting: flock, folder or
# nothing. A flock is gone with its holder; where there is none (no such program, or the file system cannot), a folder
# serves, which tells its owner.
lock_cache() {
  [ -n "${cached}" ] || return 0
  run timeout -s KILL "${CACHE_S}" mkdir -p -- "${cached%/*}" 2>/dev/null
  case ${child_status} in 0) ;; 124 | 137) forget_cache && return ;; *) return 0 ;; esac
  lock=${cached}.lock
  # (`<>` neither empties a file nor waits for a named pipe, and with `command` a failure does not end this shell)
  if command -v flock >/dev/null && { command exec 9<>"${lock}"; } 2>/dev/null; then
    run timeout -s KILL "${CACHE_WAIT_S}" flock 9 2>/dev/null
    case ${child_status} in
      0) held=flock && return ;;
      124 | 137) say "another glidein has been downloading for ${CACHE_WAIT_S} s: not waiting any longer" ;;
      *) rm -f -- "${lock}" && lock_folder ;;
    esac
    exec 9>&-
  else
    lock_folder
  fi
}

lock_folder() {
  me="$(uname -n) $(readlink "/proc/$$/ns/pid") " waited=0
  until mkdir -- "${lock}.d" 2>/dev/null; do
    [ -d "${lock}.d" ] || return 0
    owner=''
    { read -r owner <"${lock}.d/owner"; } 2>/dev/null
    # The holder was killed (we can tell on its own node only), or is much too slow. If two find that at once, one may
    # take away the new lock of the other: both download, which does no harm.
    case ${owner} in
      "${me}"*) [ -d "/proc/${owner##* }" ] || waited=${CACHE_WAIT_S} ;;
      *) ;;
    esac
    if [ "${waited}" -ge "${CACHE_WAIT_S}" ]; then
      say "the lock ${lock}.d is left over from ${owner:-nobody}: removing it"
      mv -- "${lock}.d" "${lock}.${glidein}" 2>/dev/null && rm -rf -- "${lock}.${glidein}"
      waited=0
      continue
    fi
    run sleep 1
    waited=$((waited + 1))
  done
  held=folder
  printf '%s%s\n' "${me}" "$$" >"${lock}.d/owner"
}

unlock_cache() {
  case ${held} in
    flock)
      # Who waits for this very file has what it waited for; who comes later finds the tarball.
      rm -f -- "${lock}"
      exec 9>&-
      ;;
    folder) rm -rf -- "${lock}.d" ;;
    *) ;;
  esac
  held=''
}
