#!/bin/sh
# Do the collectors' names resolve, and does one take a connection? One is enough for a glidein. With what this node
# has; with nothing of that it is unknown. Not run again: what the pool hears from, has a connection.
set -u
# reach HOST PORT: prints what went wrong, or "reached", or nothing when this node has nothing to try it with.
reach() {
  if command -v bash >/dev/null; then
    # shellcheck disable=SC2016  # for bash
    said=$(timeout -s KILL 10 bash -c 'exec 3<>"/dev/tcp/$1/$2" && echo reached' - "$1" "$2" 2>&1)
    case $?:${said} in
      *:*'No such file'*) ;; # a bash that was built without it
      137:*) echo 'no answer within 10 s' && return ;;
      *) printf '%s\n' "${said}" | sed -e q && return ;;
    esac
  fi
  if command -v nc >/dev/null; then
    set -- nc -z -w 9 "$1" "$2"
  elif command -v python3 >/dev/null; then
    set -- python3 -c 'import socket, sys; socket.create_connection(sys.argv[1:], 9)' "$1" "$2"
  elif command -v curl >/dev/null; then
    # (it cannot only connect; what it says then, no collector understands, and hangs up)
    said=$(timeout -s KILL 10 curl -sS -m 9 --noproxy '*' -w '%{time_connect}' -o /dev/null "http://$1:$2/" 2>&1)
    case ${said##*[!0-9.]} in *[1-9]*) echo reached ;; *) printf '%s\n' "${said}" | sed -e q ;; esac
    return
  else
    return
  fi
  if said=$(timeout -s KILL 10 "$@" </dev/null 2>&1); then
    echo reached
  else
    printf '%s\n' "${said:-$1 could not connect}" | tail -n 1
  fi
}
number=0 reached=0 tried=0 problem=''
for collector in ${GLIDEPOST_COLLECTORS:-}; do
  number=$((number + 1))
  reach "${collector%:*}" "${collector##*:}" >"${TMPDIR}/${number}" &
done
wait
number=0
for collector in ${GLIDEPOST_COLLECTORS:-}; do
  number=$((number + 1))
  read -r said <"${TMPDIR}/${number}" || continue
  tried=$((tried + 1))
  case ${said} in
    reached) reached=$((reached + 1)) ;;
    *) problem="${problem} ${collector}: ${said};" ;;
  esac
done
[ "${tried}" -gt 0 ] || {
  echo 'this node has neither bash, nc, python3 nor curl'
  exit 2
}
echo "GLIDEPOST_CollectorsReached = ${reached}"
[ "${reached}" -gt 0 ] || {
  echo "no collector was reached:${problem}"
  exit 1
}
