#!/bin/sh
# Do the GPUs answer, as many as are offered, and without complaints of the driver?
set -u
offered=${GLIDEPOST_GPUS:-0}
[ "${offered}" != 0 ] || {
  echo 'PYGLIDEIN_RESOURCE_GPU = false'
  echo 'no GPU is offered'
  exit 2
}
bad() {
  echo 'PYGLIDEIN_RESOURCE_GPU = false'
  echo "$1"
  exit 1
}
tool=none
for name in amd-smi rocm-smi nvidia-smi; do
  ! command -v "${name}" >/dev/null || tool=${name}
done
# `pattern` matches one line for each GPU.
case ${tool} in
  nvidia-smi)
    set -- --query-gpu=uuid,ecc.errors.uncorrected.volatile.total --format=csv,noheader
    # A neighbour's GPUs are no business of ours, where ours are named.
    case ${CUDA_VISIBLE_DEVICES:-} in GPU-*) set -- -i "${CUDA_VISIBLE_DEVICES}" "$@" ;; *) ;; esac
    pattern='^GPU-'
    ;;
  rocm-smi) pattern='^GPU\[[0-9]*\].*Unique ID' && set -- --showuniqueid ;;
  amd-smi) pattern='^ *GPU: [0-9]' && set -- list ;;
  *)
    echo 'this node has none of nvidia-smi, rocm-smi, amd-smi'
    exit 2
    ;;
esac
answer=$(timeout -s KILL 30 "${tool}" "$@" 2>&1)
code=$?
[ "${code}" != 137 ] || bad "${tool} did not answer within 30 s"
# (text first: the code of an nvidia-smi that has lost a GPU says less)
complaint=$(printf '%s\n' "${answer}" |
  grep -iE 'ERR!|Xid|is lost|fallen off|reset required|requires reset|unknown error|unable to determine|no devices' |
  head -n 1)
[ -z "${complaint}" ] || bad "${tool}: ${complaint}"
[ "${code}" = 0 ] || bad "${tool} ended with ${code}: $(printf '%s\n' "${answer}" | tail -n 1)"
errors=$(printf '%s\n' "${answer}" | sed -n 's/^\(GPU-.*\), *\([1-9][0-9]*\) *$/\1 has \2 uncorrected memory errors/p')
[ -z "${errors}" ] || bad "$(printf '%s\n' "${errors}" | head -n 1)"
found=$(printf '%s\n' "${answer}" | grep -cE "${pattern}")
[ "${found}" -ge "${offered}" ] || bad "${tool} lists ${found} GPUs, ${offered} are offered"
echo 'PYGLIDEIN_RESOURCE_GPU = true'
