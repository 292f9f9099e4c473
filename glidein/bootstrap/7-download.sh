# --- downloads

uses_proxy() {
  case ${url} in file://*) return 1 ;; *) ;; esac
  [ -n "${http_proxy:-}${https_proxy:-}${all_proxy:-}${HTTP_PROXY:-}${HTTPS_PROXY:-}${ALL_PROXY:-}" ]
}

# fetch_by_tool URL FILE SECONDS [direct]: becomes the tool, in a shell of its own. No tool may write more than it is to
# fetch. (A block is 512 bytes, or 1024.)
# shellcheck disable=SC2329  # `run` calls it
fetch_by_tool() {
  [ -z "${4-}" ] || unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
  exec 9>&- # the lock is not the tool's
  case $1 in
    file://*) exec timeout -s KILL "$3" cp -- "${1#file://}" "$2" ;;
    *) ;;
  esac
  ulimit -f "$((size / 512 + 128))"
  if command -v curl >/dev/null; then
    exec timeout "$3" curl -fsSL --connect-timeout 20 --speed-limit 100 --speed-time 30 --max-filesize "${size}" \
      -o "$2" -- "$1"
  elif command -v wget >/dev/null; then
    case $(wget --help 2>&1) in
      *BusyBox*) exec timeout "$3" wget -O "$2" -- "$1" ;;
      *) exec timeout "$3" wget -nv -t 1 -T 20 -O "$2" -- "$1" ;;
    esac
  elif command -v python3 >/dev/null; then
    exec timeout "$3" python3 -c 'import shutil, sys, urllib.request as u
shutil.copyfileobj(u.urlopen(sys.argv[1], timeout=20), open(sys.argv[2], "wb"))' "$1" "$2"
  fi
  echo 'this node has neither curl, wget nor python3'
  exit 1
}

# download URL FILE [direct]: 0 when a tool says that all of it has come; what it said otherwise is in download.log.
download() { run fetch_by_tool "$1" "$2" "${left:-${DOWNLOAD_S}}" "${3-}" >download.log 2>&1; }

# try_download WAY: one try, through the proxy of the environment, if there is one, or `direct`. Sets `is_final` when
# the right number of other bytes came straight from the store: that is no accident of the network.
try_download() {
  left=$((download_end - $(date +%s)))
  [ "${left}" -gt 0 ] || return 1
  rm -f tarball
  if download "${url}" tarball "$1"; then
    is_intact tarball && return 0
    outcome='tarball-untrusted' tried="${url} ${difference}"
    case ${difference} in 'has sha256'*) [ -z "$1" ] && uses_proxy || is_final=yes ;; *) ;; esac
  else
    tried=$(grep . download.log | tail -n 1)
    tried="${url}: ${tried:-ended with ${child_status}}"
  fi
  if uses_proxy; then tried="${1:-through the proxy} ${tried}"; fi
  say "${tried}"
  problem="${problem:+${problem}; }${tried}"
  return 1
}

# Leaves the checked file `tarball`, or 1 with `outcome` and `problem`. What came halfway is fetched again from its
# start: it is small, and never two halves of different things.
download_tarball() {
  download_end=$(($(date +%s) + DOWNLOAD_S)) is_final=''
  for pause in 4 15 ''; do
    outcome='tarball-unavailable' problem=''
    try_download '' && return 0
    [ -n "${is_final}" ] || ! uses_proxy || ! try_download direct || return 0
    [ -z "${is_final}" ] && [ -n "${pause}" ] || return 1
    # Of a thousand glideins that fail together, not all come again together.
    run sleep "$((pause + $(od -An -N2 -tu2 /dev/urandom) % (pause + 1)))"
    [ "$(date +%s)" -lt "${download_end}" ] || return 1
  done
}
