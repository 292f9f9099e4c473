#!/bin/sh
# Does Apptainer, or Singularity, work? With an image at hand it must run a program in it; else it must say its version.
set -u
program=${GLIDEPOST_APPTAINER:-}
[ -n "${program}" ] || program=$(command -v apptainer || command -v singularity || echo apptainer)
no() {
  echo "$1"
  exit 1
}
version=$(timeout -s KILL 20 "${program}" --version 2>/dev/null) ||
  no "${program} is not there, or does not say its version within 20 s"
# HTCondor brings an image whose program ends with 37; it is there once the tarball is unpacked.
image=glidein/libexec/exit_37.sif wanted=37
set -- /exit_37
case ${GLIDEPOST_USER_IMAGE:-} in
  /*) [ ! -e "${GLIDEPOST_USER_IMAGE}" ] || {
    image=${GLIDEPOST_USER_IMAGE} wanted=0
    set -- true
  } ;;
  *) ;; # one that must be fetched is none at hand
esac
if [ -e "${image}" ]; then
  said=$(timeout -s KILL 40 "${program}" exec "${image}" "$@" 2>&1)
  code=$?
  [ "${code}" -eq "${wanted}" ] ||
    no "${program} exec ${image}: ended with ${code}: $(printf '%s\n' "${said}" | grep . | tail -n 1)"
fi
version=$(printf '%s\n' "${version}" | sed -e 's/[^A-Za-z0-9 .+~_-]//g' -e q)
echo "GLIDEPOST_ApptainerVersion = \"${version}\""
