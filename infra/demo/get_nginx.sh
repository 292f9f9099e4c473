#!/bin/sh
# get_nginx.sh PREFIX  -- nginx in PREFIX, from Debian bookworm, for the tests of serving without AWS.
#
# PREFIX/{sbin,lib} can be moved and needs no root. PREFIX complete: nothing to do. See debian.sh for CACHE, PATCHELF,
# PYTHON and DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
WHAT=nginx
INSTEAD="install nginx, so that it is on the PATH; it is used then"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

# Whatever it is linked with, the C library apart.
PACKAGES="nginx nginx-common libcrypt1 libpcre2-8-0 libssl3 zlib1g"

lay_out() {
    from=$PREFIX.part/.unpacked
    mkdir "$PREFIX.part/sbin" "$PREFIX.part/lib" "$PREFIX.part/etc" &&
        libraries "$PREFIX.part/lib" &&
        cp -a "$from/etc/nginx/mime.types" "$PREFIX.part/etc/" &&
        cp -a "$from/usr/sbin/nginx" "$PREFIX.part/sbin/nginx"
}

works() {
    "$1/sbin/nginx" -v 2>/dev/null
}

begin
# shellcheck disable=SC2086
if fetch bookworm $PACKAGES && unpack && lay_out && finish lib; then exit 0; fi
fail "nginx could not be fetched and made to run here" "$INSTEAD"
