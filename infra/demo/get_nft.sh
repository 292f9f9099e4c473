#!/bin/sh
# get_nft.sh PREFIX  -- nft and ip in PREFIX, from Debian bookworm, for tests in network namespaces.
#
# PREFIX/{sbin,lib} can be moved and needs no root. PREFIX complete: nothing to do. See debian.sh for CACHE, PATCHELF,
# PYTHON and DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
WHAT=nft
INSTEAD="install nftables and iproute2, so that nft and ip are on the PATH; they are used then"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

# Whatever the two programs are linked with, the C library apart.
PACKAGES="nftables libnftables1 libnftnl11 libmnl0 libxtables12 libjansson4 libgmp10 libedit2 libbsd0 libmd0 libtinfo6
    iproute2 libbpf1 libelf1 libcap2 libselinux1 libpcre2-8-0 libtirpc3 libgssapi-krb5-2 libkrb5-3 libk5crypto3
    libkrb5support0 libcom-err2 libkeyutils1 zlib1g libzstd1"

lay_out() {
    from=$PREFIX.part/.unpacked
    mkdir "$PREFIX.part/sbin" "$PREFIX.part/lib" &&
        libraries "$PREFIX.part/lib" &&
        cp -a "$from/usr/sbin/nft" "$PREFIX.part/sbin/nft" || return 1
    # (/sbin/ip is a link to it)
    for ip in "$from/bin/ip" "$from/usr/bin/ip" "$from/usr/sbin/ip"; do
        if [ -f "$ip" ] && [ ! -L "$ip" ]; then cp -a "$ip" "$PREFIX.part/sbin/ip" && return 0; fi
    done
    return 1
}

works() {
    "$1/sbin/nft" --version >/dev/null && "$1/sbin/ip" -V >/dev/null
}

begin
# shellcheck disable=SC2086
if fetch bookworm $PACKAGES && unpack && lay_out && finish lib; then exit 0; fi
fail "nft could not be fetched and made to run here" "$INSTEAD"
