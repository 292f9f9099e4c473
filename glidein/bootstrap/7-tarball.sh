# --- the tarball

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

# choose_tarball OS ARCH: sets `tarball` to the line to use; 1 when none fits.
choose_tarball() {
  tarball='' fallback=''
  while read -r os arch line; do
    [ "${arch}" = "$2" ] || continue
    [ "${os}" != "$1" ] || : "${tarball:=${line}}"
    [ "${os}" != any ] || : "${fallback:=${line}}"
  done <<LINES
${GLIDEPOST_TARBALLS}
LINES
  : "${tarball:=${fallback}}"
  [ -n "${tarball}" ]
}

# download URL FILE: 0 when a tool says that all of it has come; what it said otherwise is in download.log.
download() {
  case $1 in
    file://*)
      run cp -- "${1#file://}" "$2" 2>download.log
      return
      ;;
    *) ;;
  esac
  if command -v curl >/dev/null; then
    run timeout "${DOWNLOAD_S}" curl -fsSL --connect-timeout 20 --max-filesize "${size}" -o "$2" -- "$1" 2>download.log
  elif command -v wget >/dev/null; then
    run timeout "${DOWNLOAD_S}" wget -T 20 -O "$2" -- "$1" 2>download.log
  elif command -v python3 >/dev/null; then
    run timeout "${DOWNLOAD_S}" python3 -c 'import shutil, sys, urllib.request as u
shutil.copyfileobj(u.urlopen(sys.argv[1], timeout=20), open(sys.argv[2], "wb"))' "$1" "$2" 2>download.log
  else
    echo 'this node has neither curl, wget nor python3' >download.log
    return 1
  fi
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

# Sets `cached`, or nothing without a cache. A copy is made before it is checked, so that nobody can swap it after.
take_from_cache() {
  cached=''
  [ -n "${GLIDEPOST_CACHE:-}" ] && expand "${GLIDEPOST_CACHE}" || return 1
  cached=${value%/}/${sha256}.tar.gz
  [ -r "${cached}" ] || return 1
  run cp -- "${cached}" tarball && is_intact tarball && return 0
  say "${cached} ${difference:-cannot be read}: taking another"
  return 1
}

put_into_cache() {
  [ -n "${cached}" ] || return 0
  if mkdir -p -- "${cached%/*}" && cp -- tarball "${cached}.${glidein}"; then
    mv -f -- "${cached}.${glidein}" "${cached}" && return 0
  fi 2>/dev/null
  rm -f -- "${cached}.${glidein}" 2>/dev/null
  say "could not put the tarball into the cache as ${cached}"
}

# Leaves the checked file `tarball` in scratch, or ends the glidein.
fetch_tarball() {
  read -r version sha256 size url <<LINE
${tarball}
LINE
  if take_from_cache; then
    say "HTCondor ${version} from the cache"
    return
  fi
  for pause in 2 6 ''; do
    outcome='tarball-unavailable'
    if download "${url}" tarball; then
      if is_intact tarball; then
        say "HTCondor ${version} from ${url}"
        put_into_cache
        return
      fi
      outcome='tarball-untrusted' problem="${url} ${difference}"
      # The right length with other bytes is no accident of the network.
      [ "${difference}" = "${difference#has sha256}" ] || break
    else
      problem="${url}: $(grep . download.log | tail -n 1)"
    fi
    say "${problem}"
    [ -z "${pause}" ] || run sleep "${pause}"
  done
  finish "${outcome}" "${problem}"
}

unpack_tarball() {
  tar -tzf tarball >names 2>/dev/null || finish tarball-untrusted 'it is no gzipped tar file'
  if grep -v -e '^glidein/' names >outside || grep -e '/\.\.$' -e '/\.\./' names >outside; then
    finish tarball-untrusted "it holds $(head -n 1 outside), which is outside of glidein/"
  fi
  run tar -xzf tarball || finish no-scratch "could not unpack HTCondor into ${scratch}"
  rm -f tarball names outside
  [ -x glidein/sbin/condor_master ] || finish tarball-untrusted 'it holds no glidein/sbin/condor_master'
}

