# --- the tarball

# A line of GLIDEPOST_TARBALLS may have two words more: the least glibc that it needs ("-": any), and how many bytes it
# unpacks to. Lines behind a line "else" are for nodes that none before it is for.
check_tarballs() {
  [ -n "${GLIDEPOST_TARBALLS:-}" ] || bad 'GLIDEPOST_TARBALLS is missing'
  while read -r os arch version sha256 size url needs unpacked more; do
    [ "${os}${arch}" != else ] || continue
    if [ -z "${url}" ] || [ -n "${more}" ]; then bad 'GLIDEPOST_TARBALLS: a line is not six words, with up to two more'; fi
    case ${os}${arch}${version}${url} in *[!!-~]*) bad 'GLIDEPOST_TARBALLS: not printable ASCII' ;; *) ;; esac
    case ${sha256} in *[!0-9a-f]*) bad "GLIDEPOST_TARBALLS: '${sha256}' is not a sha256" ;; *) ;; esac
    [ "${#sha256}" -eq 64 ] || bad "GLIDEPOST_TARBALLS: '${sha256}' is not a sha256"
    case ${size} in '' | *[!0-9]* | 0* | ??????????*) bad "GLIDEPOST_TARBALLS: '${size}' is not a size" ;; *) ;; esac
    case ${unpacked} in
      *[!0-9]* | 0* | ???????????*) bad "GLIDEPOST_TARBALLS: '${unpacked}' is not a size" ;;
      *) ;;
    esac
    case ${needs} in
      '' | - | [1-9].[0-9] | [1-9].[0-9][0-9]) ;;
      *) bad "GLIDEPOST_TARBALLS: '${needs}' is not a version of glibc" ;;
    esac
    case ${url} in
      https://?* | http://?* | file:///?*) ;;
      *) bad "GLIDEPOST_TARBALLS: '${url}' is not a https, http or file URL" ;;
    esac
  done <<LINES
${GLIDEPOST_TARBALLS:-}
LINES
}

# os_word FILE: sets `word` to ID and major VERSION_ID of an os-release file: debian12, ubuntu24, and el9 for RHEL and
# its rebuilds.
os_word() {
  os_id='' os_version=''
  while IFS='=' read -r key text || [ -n "${key}" ]; do # (the last line may lack its newline)
    text=${text#[\"\']}
    text=${text%[\"\']}
    case ${key} in
      ID) os_id=${text} ;;
      VERSION_ID) os_version=${text%%.*} ;;
      *) ;;
    esac
  done 2>/dev/null <"$1"
  case ${os_id} in rhel | centos | almalinux | rocky | ol | scientific) os_id=el ;; *) ;; esac
  word=${os_id}${os_version}
}

# Sets `libc` to the version of this node's glibc, to "musl", or to nothing.
find_libc() {
  libc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
  case ${libc} in glibc\ *) ;; *) libc=$(ldd --version 2>&1) ;; esac
  case ${libc} in
    *musl*) libc=musl ;;
    *) libc=$(printf '%s\n' "${libc}" | sed -n '1s/^.*[ )]\([1-9]\.[0-9][0-9]*\)[^ ]*$/\1/p') ;;
  esac
  [ -n "${libc}" ] || ! ls /lib/ld-musl-* >/dev/null 2>&1 || libc=musl
}

# fits_libc OS NEEDS: 0 when a tarball for this OS that needs this glibc can run here, as far as is known; else adds to
# `unfit`. HTCondor for "any" is for any with glibc.
fits_libc() {
  case ${libc}:${1}:${2:--} in
    musl:any:* | musl:*:[1-9]*) unfit='; this node has musl, and HTCondor needs glibc' ;;
    :* | *:-) return 0 ;;
    *)
      [ "${libc%%.*}" -gt "${2%%.*}" ] && return 0
      [ "${libc%%.*}" -eq "${2%%.*}" ] && [ "${libc#*.}" -ge "${2#*.}" ] && return 0
      unfit="${unfit:-; this node has glibc ${libc}, and its tarballs need}${unfit:+ or} $2"
      ;;
  esac
  return 1
}

# choose_tarball OS ARCH: sets `tarball` to the line to use; 1 when none fits, with more about that in `unfit`.
choose_tarball() {
  find_libc
  tarball='' fallback='' unfit='' machine=$2
  [ "${machine}" != arm64 ] || machine=aarch64
  while read -r its_os its_arch line; do
    [ "${its_os}${its_arch}" != else ] || [ -z "${tarball}${fallback}" ] || break
    [ "${its_arch}" = "${machine}" ] || continue
    case ${its_os} in "$1" | any) ;; *) continue ;; esac
    read -r version sha256 size url needs unpacked <<LINE
${line}
LINE
    fits_libc "${its_os}" "${needs}" || continue
    if [ "${its_os}" = any ]; then : "${fallback:=${line}}"; else : "${tarball:=${line}}"; fi
  done <<LINES
${GLIDEPOST_TARBALLS}
LINES
  : "${tarball:=${fallback}}"
  [ -n "${tarball}" ]
}

# is_intact FILE: 0 when it is what the demand names, else `difference` says why not.
is_intact() {
  found=$(($(wc -c <"$1")))
  if [ "${found}" != "${size}" ]; then
    difference="has ${found} bytes where the demand says ${size}"
    return 1
  fi
  found=$(sha256sum <"$1")
  [ "${found%% *}" = "${sha256}" ] && return 0
  difference="has sha256 ${found%% *} where the demand says ${sha256}"
  return 1
}

# Leaves the checked file `tarball` in scratch, or ends the glidein.
fetch_tarball() {
  read -r version sha256 size url needs unpacked <<LINE
${tarball}
LINE
  find_cache
  if take_from_cache; then
    say "HTCondor ${version} from the cache"
    return
  fi
  lock_cache
  # Somebody else may have brought it meanwhile. (So that those who wait do not copy it one after the other, the lock
  # goes first.)
  if [ -n "${cached}" ] && [ -f "${cached}" ]; then
    unlock_cache
    if take_from_cache; then
      say "HTCondor ${version} from the cache, where another glidein has put it"
      return
    fi
  fi
  if download_tarball; then
    say "HTCondor ${version} from ${url}"
    put_into_cache
    unlock_cache
    return
  fi
  unlock_cache
  finish "${outcome}" "${problem}"
}

# shellcheck disable=SC2329  # `run` calls it
list_tarball() { gzip -dc <tarball | head -c "${limit}" | tar -tvf - >listing; }

# Refuses all but files and folders with plain names below glidein/: no link, device or path that leads elsewhere; and
# what would fill the node's disk, also by a file with holes.
check_listing() {
  if [ -n "${unpacked}" ]; then limit=$((unpacked + unpacked / 8 + 4194304)); else limit=$((size * 30 + 67108864)); fi
  if ! run list_tarball 2>/dev/null; then
    [ "$(gzip -dc <tarball 2>/dev/null | head -c "${limit}" | wc -c)" -lt "${limit}" ] ||
      finish tarball-untrusted "it unpacks to more than ${limit} bytes"
    finish tarball-untrusted 'it is no gzipped tar file'
  fi
  part='[A-Za-z0-9_][A-Za-z0-9_.+-]*'
  plain="[-d][-rwx]{9} +[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+ +[0-9]{1,10} [0-9-]{10} [0-9:]{5,8} glidein/(${part}/)*(${part})?"
  if grep -vxE -e "${plain}" listing >outside; then
    finish tarball-untrusted "it holds $(head -n 1 outside), which is no plain file within glidein/"
  fi
  [ "$(wc -l <listing)" -le 5000 ] || finish tarball-untrusted 'it holds more than 5000 files'
  total=$((0$(sed -n 's/^[^ ]* *[^ ]* *\([0-9]*\) .*/+\1/p' listing | tr -d '\n')))
  [ "${total}" -le "${limit}" ] || finish tarball-untrusted "it unpacks to ${total} bytes, more than ${limit}"
}

unpack_tarball() {
  check_listing
  run tar -xzf tarball || finish no-scratch "could not unpack HTCondor into ${scratch}"
  rm -f tarball listing outside
  [ -x glidein/sbin/condor_master ] || finish tarball-untrusted 'it holds no glidein/sbin/condor_master'
}
