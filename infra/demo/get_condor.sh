#!/bin/sh
# get_condor.sh PREFIX [SUITE...]  -- HTCondor's daemons and tools in PREFIX, from Debian's SUITE (default: sid, else trixie).
#
# PREFIX/{bin,sbin,lib,libexec} can be moved, and runs on this host's own C library: no wrapper, no LD_LIBRARY_PATH, no
# root. The newest HTCondor is in sid; trixie has one that stays. PREFIX complete: nothing to do. See debian.sh for
# CACHE, PATCHELF, PYTHON and DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
shift
WHAT=condor
INSTEAD="install HTCondor so that condor_master is on the PATH; it is used then"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

# Kerberos, munge, voms and scitokens are loaded only for those ways to authenticate, and libcurl is the host's: of these
# Debian's newest need too new a glibc.
PACKAGES="condor libstdc++6 libgcc-s1 libgomp1 libssl3t64 libsqlite3-0 libuuid1 libpcre2-8-0 zlib1g libzstd1"

lay_out() {
    from=$PREFIX.part/.unpacked
    mkdir "$PREFIX.part/bin" "$PREFIX.part/sbin" "$PREFIX.part/lib" "$PREFIX.part/libexec"
    cp -a "$from"/usr/bin/condor_* "$from"/usr/bin/classad_* "$PREFIX.part/bin/" &&
        cp -a "$from"/usr/sbin/. "$PREFIX.part/sbin/" &&
        cp -a "$from"/usr/libexec/condor/. "$PREFIX.part/libexec/" &&
        libraries "$PREFIX.part/lib"
}

works() {
    CONDOR_CONFIG=/dev/null "$1/bin/condor_version" >/dev/null
}

begin
[ $# -gt 0 ] || set -- sid trixie
for suite in "$@"; do
    # shellcheck disable=SC2086
    if fetch "$suite" $PACKAGES && unpack && lay_out && finish lib; then exit 0; fi
    echo "get_condor.sh: HTCondor of Debian $suite did not work out" >&2
done
fail "no HTCondor could be fetched and made to run here" "$INSTEAD"
