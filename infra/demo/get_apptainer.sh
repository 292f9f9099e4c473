#!/bin/sh
# get_apptainer.sh PREFIX [SUITE...]  -- Apptainer in PREFIX, from Debian's SUITE (default: sid, else trixie).
#
# PREFIX/bin/apptainer runs unprivileged, with user namespaces, out of any folder, on this host's own C library. The
# programs that it needs for images that are one file are not in there: images that are a folder are enough for tests.
# PREFIX complete: nothing to do. See debian.sh for CACHE, PATCHELF, PYTHON and DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
shift
WHAT=apptainer
INSTEAD="install Apptainer so that apptainer is on the PATH; it is used then"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

PACKAGES="apptainer libseccomp2 libsqlite3-0"

# It finds its other parts and its settings where it lies itself, three folders above lib/apptainer/bin/starter.
lay_out() {
    from=$PREFIX.part/.unpacked
    mkdir -p "$PREFIX.part/bin" "$PREFIX.part/lib" "$PREFIX.part/var/lib/apptainer/mnt/session" &&
        cp -a "$from/usr/bin/apptainer" "$PREFIX.part/bin/" &&
        cp -a "$from/etc" "$PREFIX.part/" &&
        libraries "$PREFIX.part/lib" &&
        for folder in "$from"/usr/lib/*/apptainer; do
            triplet=$(basename "$(dirname "$folder")")
            mkdir -p "$PREFIX.part/lib/$triplet" && cp -a "$folder" "$PREFIX.part/lib/$triplet/" || return 1
        done &&
        ln -s ../etc "$PREFIX.part/lib/etc" && ln -s ../var "$PREFIX.part/lib/var"
}

works() {
    "$1/bin/apptainer" --version >/dev/null
}

begin
[ $# -gt 0 ] || set -- sid trixie
for suite in "$@"; do
    # shellcheck disable=SC2086
    if fetch "$suite" $PACKAGES && unpack && lay_out && finish lib; then exit 0; fi
    echo "get_apptainer.sh: Apptainer of Debian $suite did not work out" >&2
done
fail "no Apptainer could be fetched and made to run here" "$INSTEAD"
