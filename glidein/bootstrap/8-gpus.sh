# --- GPUs for HTCondor

# Writes the program `gpu_discovery`: it finds the driver's libraries where user jobs will, unlike HTCondor's daemons,
# and only those GPUs that it is told of. (Lists in the environment it would add to each other, and an empty one is all.)
write_gpu_discovery() {
  {
    echo '#!/bin/sh'
    printf %s "${user_environment}" | grep '^LD_' | sed -e "s/'/'\\\\''/g" -e "s/^\([^=]*\)=\(.*\)/export \1='\2'/"
    echo 'unset CUDA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES'
    printf 'exec "%s" "$@"\n' "${scratch}/glidein/libexec/condor_gpu_discovery"
  } >gpu_discovery && chmod 700 gpu_discovery
}

# Writes `gpus.raw`, a description in HTCondor's words: a line DetectedGPUs="id, id", then lines with properties.
discover_gpus() {
  set -- -properties
  case ${gpu_kind}:" ${GLIDEPOST_GPU_DISCOVERY:-} " in
    *' -opencl '* | *' -by-index '*) ;;
    amd:*) set -- "$@" -hip -by-index ;;
    *) set -- "$@" -uuid ;;
  esac
  [ -z "${gpu_ids}" ] || set -- "$@" -device "$(printf %s "${gpu_ids}" | tr ' ' ',')"
  # shellcheck disable=SC2086  # words
  run timeout -s KILL "${DISCOVERY_S}" ./gpu_discovery "$@" ${GLIDEPOST_GPU_DISCOVERY:-} >gpus.raw 2>gpus.err
  problem=$(cat gpus.err gpus.raw | tail -n 1 | cut -c 1-200)
  case ${child_status} in
    0) ;;
    124 | 137) problem="condor_gpu_discovery took longer than ${DISCOVERY_S} s, or was killed" ;;
    *) problem="condor_gpu_discovery ended with ${child_status}: ${problem}" ;;
  esac
  grep -q '^DetectedGPUs="[^"]' gpus.raw
}

# Writes the same from what is known without HTCondor's program, which lacks a library on some nodes, and which does not
# know Level Zero.
describe_gpus() {
  : >query
  [ -z "${gpu_list}" ] || run timeout -s KILL "${NVIDIA_SMI_S}" nvidia-smi \
    --query-gpu=uuid,name,memory.total,compute_cap --format=csv,noheader,nounits >query 2>/dev/null
  printf 'DetectedGPUs="%s"\n' "$(printf %s "${gpu_ids}" | sed 's/ /, /g')" >gpus.raw
  for id in ${gpu_ids}; do
    properties=$(grep -e "^${id}, " query |
      sed -n -E 's/^[^,]+, ([A-Za-z0-9 ._()\/+-]+), ([0-9]+), ([0-9]+\.[0-9]+) *$/ DeviceName="\1"; GlobalMemoryMb=\2; Capability=\3;/p')
    printf 'GPU_%s=[ id="%s";%s ]\n' "$(printf %s "${id#GPU-}" | tr -c A-Za-z0-9 _)" "${id}" "${properties}"
  done >>gpus.raw
}

# Writes `gpus.ad`, the same with as many GPUs as the glidein is to have. Those that have a number have only that as
# their name, for that is what their libraries read: HTCondor 25 cannot take off what is before it, as its manual says
# of ENVIRONMENT_FOR_AssignedGPUs. And a single number it would take for how many there are, without the comma.
keep_gpus() {
  sed -E -e '/^DetectedGPUs=/s/(GPU|OCL)([0-9])/\2/g' -e 's/=\[ id="(GPU|OCL)([0-9])/=[ id="\2/' gpus.raw >gpus.new &&
    mv -f gpus.new gpus.raw
  ids=$(sed -n 's/^DetectedGPUs="\(.*\)"$/\1/p' gpus.raw | tr ',' ' ')
  gpu_ids=''
  for id in ${ids}; do
    # shellcheck disable=SC2086  # words
    set -- ${gpu_ids}
    [ "$#" -ge "${gpus}" ] || gpu_ids="${gpu_ids:+${gpu_ids} }${id}"
  done
  # shellcheck disable=SC2086  # words
  set -- ${gpu_ids}
  gpus=$#
  printf 'DetectedGPUs="%s,"\n' "$(printf %s "${gpu_ids}" | sed 's/ /, /g')" >gpus.ad
  grep -v -e '^DetectedGPUs=' -e '=\[ id="' gpus.raw >>gpus.ad
  for id in ${gpu_ids}; do grep -F -e "=[ id=\"${id}\";" gpus.raw >>gpus.ad; done
  name_of_all=$(sed -n 's/^Common=.*DeviceName="\([^"]*\)".*/\1/p' gpus.raw) names=''
  for id in ${gpu_ids}; do
    name=$(grep -F -e "=[ id=\"${id}\";" gpus.raw | sed -n 's/.*DeviceName="\([^"]*\)".*/\1/p')
    names="${names},${name:-${name_of_all}}"
  done
}

# Adds to condor_config this glidein's GPUs, and no others; ends the glidein where none answers: one that stayed would
# only refuse user jobs.
find_gpus() {
  [ "${gpus}" != 0 ] || return 0
  write_gpu_discovery || finish no-scratch "cannot write into ${scratch}"
  problem='there is no condor_gpu_discovery in the tarball'
  if [ "${gpu_kind}" = intel ] && [ -z "${GLIDEPOST_GPU_DISCOVERY:-}" ]; then
    describe_gpus
  elif ! [ -x glidein/libexec/condor_gpu_discovery ] || ! discover_gpus; then
    say "${problem}"
    # (only what nvidia-smi has seen, or Linux, is certain to be there)
    [ -n "${gpu_list}" ] || [ "${gpu_kind}" = intel ] || finish_slowly no-gpu "no GPU answers: ${problem}"
    describe_gpus
  fi
  if [ "${gpu_kind}" = nvidia ] && grep -q '^DetectedGPUs="GPU[0-9]' gpus.raw; then
    gpu_kind=amd
    hide_gpus # (the last word in condor_config counts)
  fi
  keep_gpus
  least=${gpus} who='this batch job'
  tell_less "${GLIDEPOST_GPUS}" GPUs GPUs
  if ! { printf '#!/bin/sh\nexec cat "%s"\n' "${scratch}/gpus.ad" >show_gpus && chmod 700 show_gpus; }; then
    finish no-scratch "cannot write into ${scratch}"
  fi
  configure "MACHINE_RESOURCE_INVENTORY_GPUs = ${scratch}/show_gpus"
  names=$(printf %s "${names#,}" | tr -c 'A-Za-z0-9 ,._()/+-' '?')
  case ${names} in *[!,]*) advertise GPU_NAMES "\"${names}\"" ;; *) ;; esac
  keep_for_gpus
}

# User jobs that ask for no GPU would keep away those that do: they may not start here, or, where the shape lets them,
# only on cores that leave one to each free GPU. (schema/start.py says the same to the pool's matching.)
keep_for_gpus() {
  case ${GLIDEPOST_BACKFILL:-} in
    yes)
      advertise GLIDEPOST_Backfill true
      allow '(TARGET.RequestGPUs ?: 0) > 0 || MY.Cpus - (TARGET.RequestCpus ?: 1) >= (MY.GPUs ?: 0)'
      ;;
    *) allow '(TARGET.RequestGPUs ?: 0) > 0' ;;
  esac
}
