#!/bin/sh
# get_chromium.sh PREFIX  -- a Chromium without a window in PREFIX, from Debian bookworm, for tests of the page.
#
# PREFIX/bin/chromium is Debian's headless shell with its libraries and one family of fonts. It can be moved and needs no
# root. PREFIX complete: nothing to do. See debian.sh for CACHE, PATCHELF, PYTHON and DEBIAN_MIRROR.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
case $1 in /*) PREFIX=$1 ;; *) PREFIX=$PWD/$1 ;; esac
WHAT=chromium
INSTEAD="install Chromium so that chromium is on the PATH; it is used then"
# shellcheck source=infra/demo/debian.sh
. "$HERE/debian.sh"

# Whatever it is linked with, the C library apart.
PACKAGES="chromium-headless-shell chromium-common fonts-dejavu-core libasound2 libasyncns0 libatk-bridge2.0-0 libatk1.0-0
    libatspi2.0-0 libblkid1 libbrotli1 libbsd0 libcap2 libdav1d6 libdbus-1-3 libdouble-conversion3 libdrm2 libexpat1
    libffi8 libflac12 libfontconfig1 libfreetype6 libgbm1 libgcc-s1 libgcrypt20 libglib2.0-0 libgpg-error0
    libgraphite2-3 libharfbuzz-subset0 libharfbuzz0b libjpeg62-turbo liblcms2-2 liblz4-1 liblzma5 libmd0 libminizip1
    libmount1 libmp3lame0 libmpg123-0 libnspr4 libnss3 libogg0 libopenh264-7 libopenjp2-7 libopus0 libpcre2-8-0
    libpng16-16 libpulse0 libselinux1 libsndfile1 libstdc++6 libsystemd0 libudev1 libvorbis0a libvorbisenc2
    libwayland-server0 libx11-6 libx11-xcb1 libxau6 libxcb1 libxcomposite1 libxdamage1 libxdmcp6 libxext6 libxfixes3
    libxi6 libxkbcommon0 libxnvctrl0 libxrandr2 libxrender1 libzstd1 zlib1g"

lay_out() {
    from=$PREFIX.part/.unpacked
    mkdir -p "$PREFIX.part/bin" "$PREFIX.part/lib" "$PREFIX.part/share" &&
        libraries "$PREFIX.part/lib" &&
        cp -a "$from"/usr/lib/*/pulseaudio/*.so "$PREFIX.part/lib/" &&
        cp -a "$from/usr/lib/chromium" "$PREFIX.part/lib/chromium" &&
        cp -a "$from/usr/share/fonts" "$PREFIX.part/share/fonts" || return 1
    program=$(cd "$PREFIX.part/lib/chromium" && find . -maxdepth 1 -type f -perm -1 -name '*headless*' | head -n 1)
    [ -n "$program" ] || { echo "$(basename "$0"): the packages hold no headless shell" >&2; return 1; }
    # It finds its own parts beside itself, and its fonts by this file.
    cat >"$PREFIX.part/share/fonts.conf" <<'END'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
END
    cat >"$PREFIX.part/bin/chromium" <<END
#!/bin/sh
prefix=\$(cd "\$(dirname "\$0")/.." && pwd)
FONTCONFIG_FILE=\$prefix/share/fonts.conf exec "\$prefix/lib/chromium/${program#./}" "\$@"
END
    chmod 755 "$PREFIX.part/bin/chromium"
}

works() {
    "$1/bin/chromium" --version >/dev/null
}

begin
# shellcheck disable=SC2086
if fetch bookworm $PACKAGES && unpack && lay_out && finish lib; then exit 0; fi
fail "Chromium could not be fetched and made to run here" "$INSTEAD"
