#!/bin/sh
# Is the clock right? A server that glideins download from says the time with each answer. More than five minutes off,
# and tokens are refused. Not run again: clocks do not jump, and each question is a request to that server.
set -u
unknown() {
  echo "$1"
  exit 2
}
[ -n "${GLIDEPOST_URL:-}" ] || unknown 'there is no server to ask'
# (any answer has a date, a refusal too; no cache between may give an old one)
if command -v curl >/dev/null; then
  answer=$(timeout -s KILL 15 curl -sI -H 'Cache-Control: no-cache' -- "${GLIDEPOST_URL}")
elif command -v wget >/dev/null; then
  answer=$(timeout -s KILL 15 wget -S --spider -t 1 --header 'Cache-Control: no-cache' -- "${GLIDEPOST_URL}" 2>&1)
else
  unknown 'this node has neither curl nor wget'
fi
ours=$(date +%s)
field() { printf '%s\n' "${answer}" | tr -d '\r' | sed -n "s/^ *[$1]: *//p" | tail -n 1; }
text=$(field 'Dd][Aa][Tt][Ee')
age=$(field 'Aa][Gg][Ee')
[ -n "${text}" ] || unknown 'the server did not answer with a date'
theirs=$(date -d "${text}" +%s 2>/dev/null) || unknown "this node's date cannot read '${text}'"
case ${age} in '' | *[!0-9]* | ????????*) age=0 ;; *) ;; esac
off=$((ours - theirs - age))
echo "GLIDEPOST_ClockOffSeconds = ${off}"
[ "${off#-}" -le 300 ] || {
  echo "the clock is ${off} s off"
  exit 1
}
