# --- GPUs of this batch job

# Which GPUs the batch system has given, by UUID where nvidia-smi tells: docs/reference/what-a-glidein-takes.md.

NVIDIA_SMI_S=60 # the longest that one look at the GPUs may take: a driver that nobody has used wakes up slowly
DISCOVERY_S=120

gpu_said='' gpu_kind='' gpu_ids='' gpu_list=''

# note_gpus NAME VALUE: remembers what a variable says of this batch job's GPUs; the last word of a name counts.
note_gpus() { gpu_said=${gpu_said}${NEWLINE}$1=$2${NEWLINE}; }

# Notes what the batch system, and the site's setup, say in the variables of `environ`.
note_batch_gpus() {
  gpu_said=''
  [ "${GLIDEPOST_GPUS}" != 0 ] || return 0
  for variable in CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ZE_AFFINITY_MASK GPU_DEVICE_ORDINAL \
    SLURM_STEP_GPUS SLURM_JOB_GPUS _CONDOR_AssignedGPUs; do
    ! grep -q "^${variable}=" environ || { from_environ "${variable}" && note_gpus "${variable}" "${value}"; }
  done
  # Grid Engine's name ends in that of the complex, which the site has chosen: gpu, gpu_card, ngpus.
  value=$(sed -n 's/^SGE_HGR_[A-Za-z0-9_]*[Gg][Pp][Uu][A-Za-z0-9_]*=//p' environ | tail -n 1)
  note_gpus SGE_HGR_gpu "${value}"
  from_environ PBS_GPUFILE
  if [ -n "${value}" ] && [ -r "${value}" ]; then
    # lines "host-gpu0"
    mine=$(grep -e "^${host%%.*}[.-]" -- "${value}" || cat -- "${value}")
    note_gpus PBS_GPUFILE "$(printf %s "${mine}" | tr '\n' ' ')"
  fi
}

# said NAME: sets `value`; 1 when nothing is said there. An empty list means no GPU only to the vendors' own libraries.
said() {
  case ${gpu_said} in *"${NEWLINE}$1="*) ;; *) return 1 ;; esac
  value=${gpu_said##*"${NEWLINE}$1="}
  value=${value%%"${NEWLINE}"*}
  case $1 in CUDA_VISIBLE_DEVICES | ROCR_VISIBLE_DEVICES | HIP_VISIBLE_DEVICES) ;; *) [ -n "${value}" ] ;; esac
}

# entries_of TEXT: sets `entries`, words such as 0, 0.1, 0:1, GPU-5c89852c and MIG-..., and `count`. Torque writes
# "host-gpu0", HTCondor "CUDA0", some sites "gpu0"; what CUDA does not understand ends its list, so it ends ours.
entries_of() {
  entries='' count=0
  case $1 in *[!A-Za-z0-9,\;\ :./_-]*) return 0 ;; *) ;; esac
  for entry in $(printf %s "$1" | tr ',;' '  '); do
    case ${entry} in
      -1 | 10000 | [Nn]one | void | NoDevFiles) break ;;
      GPU-?* | MIG-?*) add_entry "${entry}" ;;
      *[!0-9-]*)
        [ "${#entry}" -ne 36 ] || case ${entry} in *[!0-9a-fA-F-]*) ;; *) entry=GPU-${entry} ;; esac
        case ${entry} in GPU-*) ;; *[0-9]) entry=${entry##*[!0-9.:]} ;; *) break ;; esac
        add_entry "${entry}"
        ;;
      ?*-?*)
        first=${entry%%-*} last=${entry#*-}
        case ${first}:${last} in :* | *: | *-* | ?????*:* | *:?????*) break ;; *) ;; esac
        while [ "${first}" -le "${last}" ]; do
          add_entry "${first}"
          first=$((first + 1))
        done
        ;;
      *) add_entry "${entry}" ;;
    esac
  done
}

add_entry() {
  case " ${entries} " in *" $1 "*) return 0 ;; *) ;; esac
  entries="${entries:+${entries} }$1" count=$((count + 1))
}

# Sets `gpu_kind` to nvidia, amd or intel. What is in the node decides: Slurm sets the variables of all of them.
name_gpu_kind() {
  gpu_kind=nvidia
  case " ${GLIDEPOST_GPU_DISCOVERY:-} " in *' -hip '*) gpu_kind=amd && return 0 ;; *) ;; esac
  if command -v nvidia-smi >/dev/null || [ -e "${NODE:-}/proc/driver/nvidia" ]; then return 0; fi
  count_intel
  if [ -e "${NODE:-}/dev/kfd" ]; then
    gpu_kind=amd
  elif [ "${count}" != 0 ]; then
    gpu_kind=intel
  elif said CUDA_VISIBLE_DEVICES; then
    :
  elif said ROCR_VISIBLE_DEVICES || said HIP_VISIBLE_DEVICES; then
    gpu_kind=amd
  elif said ZE_AFFINITY_MASK; then
    gpu_kind=intel
  fi
}

# Sets `entries` and `count` to the numbers of Intel's GPUs in this node, as Level Zero counts them.
count_intel() {
  entries='' count=0
  for render in "${NODE:-}"/sys/class/drm/renderD*; do
    grep -qs '^0x8086' "${render}/device/vendor" && add_entry "${count}"
  done
  return 0
}

# Sets `entries`, `count` and `gpus_from`, the variable that names them; 1 when none names any. The narrowest wins: the
# batch system gave no more than any of them says, and each may be read by some program.
choose_gpus() {
  case ${gpu_kind} in
    amd) set -- ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ;;
    intel) set -- ZE_AFFINITY_MASK ;;
    *) set -- CUDA_VISIBLE_DEVICES ;;
  esac
  gpus_from='' chosen='' chosen_count=0
  for variable in "$@" SLURM_STEP_GPUS SLURM_JOB_GPUS _CONDOR_AssignedGPUs SGE_HGR_gpu PBS_GPUFILE GPU_DEVICE_ORDINAL; do
    said "${variable}" || continue
    entries_of "${value}"
    if [ -n "${gpus_from}" ]; then
      [ "${count}" != "${chosen_count}" ] || continue
      say "${gpus_from} names ${chosen_count} GPUs and ${variable} names ${count}: the narrower one counts"
      [ "${count}" -lt "${chosen_count}" ] || continue
    fi
    gpus_from=${variable} chosen=${entries} chosen_count=${count} text=${value}
  done
  [ -n "${gpus_from}" ] || return 1
  entries=${chosen} count=${chosen_count}
  if [ "${gpus_from}" = HIP_VISIBLE_DEVICES ] && said ROCR_VISIBLE_DEVICES; then count_within "${value}"; fi
}

# count_within TEXT: HIP counts within what ROCR_VISIBLE_DEVICES leaves: replaces `entries` by the GPUs that they are.
count_within() {
  numbers=${entries}
  entries_of "$1"
  # shellcheck disable=SC2086  # words
  set -- ${entries}
  entries='' count=0
  for number in ${numbers}; do
    index=0
    for entry in "$@"; do
      [ "${index}" != "${number}" ] || add_entry "${entry}"
      index=$((index + 1))
    done
  done
}

# Sets `gpu_list`: a line "INDEX UUID -" for each GPU that nvidia-smi lets this batch job see, "INDEX:SLICE UUID GPU" for
# each of the slices where MIG has cut it, and then none for the GPU itself. 1 when it does not say.
list_nvidia() {
  gpu_list=''
  command -v nvidia-smi >/dev/null || return 1
  run timeout -s KILL "${NVIDIA_SMI_S}" nvidia-smi -L >nvidia-smi.out 2>&1
  # (where one GPU is lost, it ends with an error and lists the others)
  if [ "${child_status}" != 0 ] && ! grep -q -e '^No devices' -e '(UUID: ' nvidia-smi.out; then
    say "nvidia-smi -L ended with ${child_status}: $(head -n 1 nvidia-smi.out | cut -c 1-200)"
    return 1
  fi
  gpu='' index='' slice=0
  while IFS= read -r line; do
    uuid=${line##*'(UUID: '}
    uuid=${uuid%%')'*}
    case ${uuid} in GPU-?* | MIG-?*) ;; *) continue ;; esac
    case ${uuid} in *[!A-Za-z0-9/-]*) continue ;; *) ;; esac
    case ${line} in
      'GPU '[0-9]*:*)
        index=${line#GPU } slice=0 gpu=${uuid}
        index=${index%%:*}
        gpu_list="${gpu_list}${index} ${uuid} -${NEWLINE}"
        ;;
      *MIG\ *)
        gpu_list="${gpu_list%"${index} ${gpu} -${NEWLINE}"}${index}:${slice} ${uuid} ${gpu}${NEWLINE}"
        slice=$((slice + 1))
        ;;
      *) ;;
    esac
  done <nvidia-smi.out
}

# resolve_gpu ENTRY: adds to `entries` the UUIDs that it stands for; the index of a GPU that is cut, for all its slices.
resolve_gpu() {
  while read -r index uuid gpu; do
    case $1 in
      GPU-* | MIG-*) case ${uuid}:${gpu} in "$1"* | *:"$1"*) ;; *) continue ;; esac ;;
      *) case ${index} in "$1" | "$1":*) ;; *) continue ;; esac ;;
    esac
    [ -z "${uuid}" ] || add_entry "${uuid}"
  done <<LINES
${gpu_list}
LINES
}

# Replaces `entries` by UUIDs; what is not there is left out.
resolve_gpus() {
  asked=${entries} asked_count=${count} entries='' count=0
  for entry in ${asked}; do resolve_gpu "${entry}"; done
  visible=$(printf %s "${gpu_list}" | grep -c .)
  if [ "${count}" = 0 ] && [ "${asked_count}" = "${visible}" ] && [ "${visible}" != 0 ]; then
    # The cgroup hides the others, and nvidia-smi counts anew within it.
    say "${gpus_from} counts all GPUs of the node; taking those that this batch job sees"
    list_all
  fi
}

# Sets `entries` to all that are visible.
list_all() {
  entries='' count=0
  while read -r index uuid gpu; do
    [ -z "${uuid}" ] || add_entry "${uuid}"
  done <<LINES
${gpu_list}
LINES
}

# Sets `entries` to all that are visible, those first that nobody computes on: where the batch system names none, those
# of this node may be somebody else's.
list_idle() {
  list_all
  [ "${count}" -gt "${gpus}" ] || return 0
  say "nothing names this batch job's GPUs, and it sees ${count}: taking ${gpus} of them, idle ones first"
  run timeout -s KILL "${NVIDIA_SMI_S}" nvidia-smi --query-compute-apps=gpu_uuid --format=csv,noheader >busy 2>/dev/null
  all=${entries} entries='' count=0
  for entry in ${all}; do grep -qF -e "${entry}" busy || add_entry "${entry}"; done
  for entry in ${all}; do add_entry "${entry}"; done
}

# Sets `gpu_ids` to what HTCondor is to look for, and lowers `gpus` to their number. Without nvidia-smi, and where no
# variable names any, `gpu_ids` stays empty: find_gpus will see what is there.
take_gpus() {
  gpu_ids='' gpu_list=''
  name_gpu_kind
  hide_gpus
  [ "${gpus}" != 0 ] || return 0
  named='it sees none'
  if choose_gpus; then
    named="${gpus_from} is '${text}'"
    [ "${count}" != 0 ] || finish_slowly no-gpu "this batch job was given no GPU: ${named}"
    [ "${gpu_kind}" != nvidia ] || ! list_nvidia || resolve_gpus
    [ "${gpu_kind}" != intel ] || join_tiles
  elif [ "${gpu_kind}" = nvidia ]; then
    list_nvidia || return 0
    list_idle
  else
    [ "${gpu_kind}" = intel ] || return 0
    count_intel
  fi
  [ "${count}" != 0 ] || finish_slowly no-gpu "no GPU of this batch job is there: ${named}"
  for entry in ${entries}; do
    case " ${gpu_ids} " in *" ${entry} "*) continue ;; *) ;; esac
    # shellcheck disable=SC2086  # words
    set -- ${gpu_ids}
    [ "$#" -ge "${gpus}" ] || gpu_ids="${gpu_ids:+${gpu_ids} }${entry}"
  done
  [ "${count}" -ge "${gpus}" ] || gpus=${count}
  say "GPUs of this batch job: ${gpu_ids}"
  tell_gpus "$(printf %s "${gpu_ids}" | tr ' ' ',')"
}

# Intel's GPUs consist of tiles: "0.0,0.1" is one GPU where one was asked for.
join_tiles() {
  [ "${count}" -gt "${gpus}" ] || return 0
  tiles=${entries} tile_count=${count} entries='' count=0
  for entry in ${tiles}; do add_entry "${entry%%.*}"; done
  [ "${count}" -gt "${gpus}" ] || return 0
  entries=${tiles} count=${tile_count}
}

# tell_gpus LIST: lets the checks see them, and HTCondor; it tells each user job about its own.
tell_gpus() {
  case ${gpu_kind} in
    amd) tell_condor ROCR_VISIBLE_DEVICES "$1" ;;
    intel) tell_condor ZE_AFFINITY_MASK "$1" ;;
    *) tell_condor CUDA_VISIBLE_DEVICES "$1" ;;
  esac
}

# What a user job sees of its GPUs; one that has none sees the number of a GPU that no node has. HTCondor adds
# NVIDIA_VISIBLE_DEVICES. AMD's libraries read CUDA_VISIBLE_DEVICES and GPU_DEVICE_ORDINAL too, and count in them
# within what ROCR_VISIBLE_DEVICES leaves. (Of two names without a pattern HTCondor 25.14 takes neither.)
hide_gpus() {
  case ${gpu_kind} in
    amd) variables='ROCR_VISIBLE_DEVICES=/HIP//' ;;
    intel) variables='GPU_DEVICE_ORDINAL=/OCL//  ZE_AFFINITY_MASK=/OCL//' ;;
    *) variables='GPU_DEVICE_ORDINAL=/(CUDA|OCL)//  CUDA_VISIBLE_DEVICES=/CUDA//' ;;
  esac
  configure "ENVIRONMENT_FOR_AssignedGPUs = ${variables}
ENVIRONMENT_VALUE_FOR_UnAssignedGPUs = 10000"
}
