#!/bin/sh
# Is as much memory free as is offered? While user jobs run they use it: then a twentieth is enough.
set -u
offered=${GLIDEPOST_MEMORY_MIB:-0}
available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' "${GLIDEPOST_PROC:-/proc}/meminfo" 2>/dev/null)
[ -n "${available}" ] || {
  echo 'this kernel does not say what is available'
  exit 2
}
available=$((available / 1024))
echo "GLIDEPOST_MemoryFreeMiB = ${available}"
wanted=$((offered * 9 / 10))
[ -z "${GLIDEPOST_AGAIN:-}" ] || wanted=$((offered / 20))
[ "${available}" -ge "${wanted}" ] || {
  echo "${available} MiB are available, ${offered} MiB are offered"
  exit 1
}
