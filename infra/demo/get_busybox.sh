#!/bin/sh
# get_busybox.sh PREFIX  -- busybox in PREFIX, from Debian bookworm, so that tests have its shell and tools on any host.
#
# PREFIX/bin/busybox is linked with the C library alone. (Debian's busybox-static would not do: as a shell it takes its own
# tools before those on the PATH.) PREFIX complete: nothing to do. See debian.sh for CACHE, PATCHELF, PYTHON and
# DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
WHAT=busybox
INSTEAD="install busybox so that it is on the PATH; it is used then"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

lay_out() {
    mkdir "$PREFIX.part/bin" "$PREFIX.part/lib" || return 1
    for program in "$PREFIX.part/.unpacked/bin/busybox" "$PREFIX.part/.unpacked/usr/bin/busybox"; do
        if [ -f "$program" ]; then cp -a "$program" "$PREFIX.part/bin/" && return 0; fi
    done
    return 1
}

works() {
    "$1/bin/busybox" ash -c : && "$1/bin/busybox" true
}

begin
if fetch bookworm busybox && unpack && lay_out && finish lib; then exit 0; fi
fail "busybox could not be fetched and made to run here" "$INSTEAD"
