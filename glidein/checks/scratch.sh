#!/bin/sh
# Can files be written in the scratch folder ($TMPDIR), how fast, and is there as much room as is offered?
# While user jobs run they may fill the disk and keep it busy: then only writing counts.
set -u
mib=4 offered=${GLIDEPOST_DISK_MIB:-0}
fail() {
  echo "$1"
  exit 1
}
# (in KiB)
room=$(df -Pk -- "${TMPDIR}" 2>/dev/null | sed -n '2s/.* \([0-9][0-9]*\)  *[0-9][0-9]*% .*/\1/p')
[ -z "${room}" ] || echo "GLIDEPOST_ScratchFreeMiB = $((room / 1024))"
begin=$(date +%s%N)
# (what is only in memory yet says nothing about the disk)
problem=$(dd if=/dev/zero of="${TMPDIR}/written" bs=1048576 count="${mib}" conv=fsync 2>&1) ||
  fail "$(printf '%s\n' "${problem}" | head -n 1)"
end=$(date +%s%N)
[ "$(($(wc -c <"${TMPDIR}/written")))" -eq $((mib * 1048576)) ] || fail 'what was written is not all there'
rm -f -- "${TMPDIR}/written"
speed=1
case ${begin}${end} in
  *[!0-9]*) ;; # a date without nanoseconds
  *)
    speed=$((mib * 1000000000 / (end - begin + 1)))
    echo "GLIDEPOST_ScratchMiBPerSecond = ${speed}"
    ;;
esac
[ -z "${GLIDEPOST_AGAIN:-}" ] || exit 0
[ -z "${room}" ] || [ "${room}" -ge $((offered * 1024 * 9 / 10)) ] ||
  fail "$((room / 1024)) MiB are free, ${offered} MiB are offered"
[ "${speed}" -ge 1 ] || fail "it took more than ${mib} s to write ${mib} MiB"
