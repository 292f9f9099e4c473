#!/bin/sh
# get_slurm.sh PREFIX  -- Slurm and munge in PREFIX, from Debian bookworm: its packages run on any newer host too.
#
# PREFIX/{bin,sbin,lib} can be moved and needs no root; slurm.conf must name PREFIX/lib/slurm-wlm as its PluginDir, and
# slurmd be told where slurmstepd is (slurm_up.sh does both). PREFIX complete: nothing to do. See debian.sh for CACHE,
# PATCHELF, PYTHON and DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
WHAT=slurm
INSTEAD="install Slurm and munge so that slurmctld, slurmd and munged are on the PATH; they are used then"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

# Whatever the programs are linked with, the C library apart.
PACKAGES="slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2 libhwloc15 libnuma1 libdbus-1-3 libjson-c5
    liblua5.1-0 libyaml-0-2 liblz4-1 libreadline8 libtinfo6 libpam0g libaudit1 libcap-ng0 libgcrypt20 libgpg-error0
    libbz2-1.0 zlib1g libsystemd0 libcap2 libzstd1 liblzma5 libudev1"

lay_out() {
    from=$PREFIX.part/.unpacked
    mkdir "$PREFIX.part/bin" "$PREFIX.part/sbin" "$PREFIX.part/lib"
    cp -a "$from"/usr/bin/. "$PREFIX.part/bin/" &&
        cp -a "$from"/usr/sbin/. "$PREFIX.part/sbin/" &&
        libraries "$PREFIX.part/lib" &&
        cp -a "$from"/usr/lib/*/slurm-wlm "$PREFIX.part/lib/" || return 1
    # Debian's alternatives, made when a package is configured.
    for name in slurmctld slurmd slurmstepd; do
        ln -sf "$name-wlm" "$PREFIX.part/sbin/$name" || return 1
    done
}

works() {
    # (The clients say nothing, not even their version, without a slurm.conf.)
    "$1/sbin/slurmctld" -V >/dev/null && "$1/sbin/slurmd" -V >/dev/null && "$1/sbin/munged" --version >/dev/null
}

begin
# shellcheck disable=SC2086
if fetch bookworm $PACKAGES && unpack && lay_out && finish lib lib/slurm-wlm; then exit 0; fi
fail "Slurm could not be fetched and made to run here" "$INSTEAD"
