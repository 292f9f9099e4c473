#!/bin/sh
# get_gridengine.sh PREFIX  -- Grid Engine 8.1.9 in PREFIX, from Debian bookworm: its packages run on any newer host too.
#
# PREFIX/{bin,lib} can be moved and needs no root; SGE_ROOT and the ports in the environment say which cell is meant
# (gridengine_up.sh makes one). PREFIX complete: nothing to do. See debian.sh for CACHE, PATCHELF, PYTHON and
# DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
WHAT=gridengine
INSTEAD="unpack Debian's gridengine packages in the same way on such a host, and copy the folder to $PREFIX"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

# Whatever the programs are linked with, the C library apart.
PACKAGES="gridengine-master gridengine-exec gridengine-client gridengine-common libjemalloc2 libmunge2 libssl3
    libtirpc3 libhwloc15 libudev1 libcap2 libtinfo6 libcrypt1 libpam0g libaudit1 libcap-ng0 libgssapi-krb5-2 libkrb5-3
    libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libstdc++6 libgcc-s1"

lay_out() {
    from=$PREFIX.part/.unpacked
    mkdir "$PREFIX.part/bin" "$PREFIX.part/lib" "$PREFIX.part/share" || return 1
    # In /usr/bin lie wrappers that look into /etc and /var; these are the programs. One spooling library is enough.
    libraries "$PREFIX.part/lib" && rm "$PREFIX.part/lib/libspoolb.so" &&
        find "$from/usr/lib/gridengine" -type f -perm -1 ! -name spooldefaults ! -name 'spooledit*' \
            -exec mv {} "$PREFIX.part/bin/" \; &&
        mv "$PREFIX.part/bin/spooldefaults.bin" "$PREFIX.part/bin/spooldefaults" &&
        cp -a "$from/usr/share/gridengine/util/resources/centry" "$from/usr/share/gridengine/util/resources/usersets" \
            "$PREFIX.part/share/" || return 1
    # Links of the package, by which a program knows what it shall be.
    for link in qhold:qalter qrls:qalter qresub:qalter qselect:qstat qlogin:qsh qrsh:qsh; do
        ln -sf "${link#*:}" "$PREFIX.part/bin/${link%:*}" || return 1
    done
    # Debian's programs look for the spooling library below /usr/lib; without a folder the loader looks where they say.
    for program in sge_qmaster spooldefaults spoolinit; do
        LC_ALL=C sed -i 's|/usr/lib/gridengine/%s%s|%s%s\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00|' \
            "$PREFIX.part/bin/$program" || return 1
    done
}

works() {
    # (Without a cell most say no more than that they miss it.)
    for program in sge_qmaster sge_execd sge_shepherd spooldefaults qsub qstat qconf; do
        env -u SGE_ROOT "$1/bin/$program" -help 2>&1 | grep -qE 'SGE_ROOT|^usage:' || return 1
    done
}

begin
# shellcheck disable=SC2086
if fetch bookworm $PACKAGES && unpack && lay_out && finish lib; then exit 0; fi
fail "Grid Engine could not be fetched and made to run here" "$INSTEAD"
