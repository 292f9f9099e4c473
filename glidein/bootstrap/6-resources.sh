# --- what was really given

# A glidein offers what was asked for, or less where less is there: a number of this batch job's, of its cgroups or of
# its scratch folder may only lower it. docs/reference/what-a-glidein-takes.md lists who says what.

NODE=''         # tests put the /proc and /sys of another node here
ASK_S=10        # the longest that the batch system may take to answer
OWN_DISK_MIB=64 # HTCondor unpacked, and its logs

# is_count TEXT: 0 for a whole number above 0 that arithmetic bears; "no limit" is often a number that it does not.
is_count() {
  case $1 in '' | *[!0-9]* | 0* | ????????????????*) return 1 ;; *) ;; esac
}

# lower NUMBER WHO: lowers `least` to a whole number above 0. Anything else (none, unlimited, -1, 0) is no limit.
lower() {
  is_count "$1" && [ "$1" -lt "${least}" ] || return 0
  least=$1 who=$2
}

# tell_less ASKED UNIT ATTRIBUTE: says and advertises that `least` is less than what was asked for.
tell_less() {
  [ "${least}" -lt "$1" ] || return 0
  say "${least} of $1 ${2}: ${who} gives no more"
  advertise "GLIDEPOST_Asked$3" "$1"
}

# Sets `batch_system`, whose variables count. Where there are those of several, it is the innermost: HTCondor clears the
# environment of its jobs, a plugin of Slurm makes PBS_*, and who submits from within a batch job leaves its variables
# to some. A process of a host (GLIDEPOST_BATCH_JOB is the local backend's, too) has no variables of its own.
name_batch_system() {
  batch_system=none job_ad=${_CONDOR_JOB_AD:-${_CONDOR_SCRATCH_DIR:-}/.job.ad}
  machine_ad=${_CONDOR_MACHINE_AD:-${_CONDOR_SCRATCH_DIR:-}/.machine.ad}
  if [ -r "${machine_ad}" ]; then
    batch_system=htcondor
  elif [ -n "${GLIDEPOST_BATCH_JOB:-}" ]; then
    return
  elif [ -n "${SLURM_JOB_ID:-}" ]; then
    batch_system=slurm
  elif [ -n "${PBS_JOBID:-}" ]; then
    batch_system=pbs
    [ -z "${PBS_NP:-}${PBS_NUM_PPN:-}${PBS_WALLTIME:-}" ] || batch_system=torque
  elif [ -n "${LSB_JOBID:-}" ]; then
    batch_system=lsf
  elif [ -n "${JOB_ID:-}" ] && [ -n "${NSLOTS:-}" ]; then
    batch_system=gridengine
  fi
}

# in_ad FILE ATTRIBUTE: sets `value` to the whole number that a ClassAd says, or to nothing.
in_ad() { value=$(sed -n "s/^$2 = \([0-9]\{1,\}\)\$/\1/p" "$1" 2>/dev/null | tail -n 1); }

# Sets `cgroups`: the folders whose limits hold for this process, those of its own cgroups and of all above, a line each.
find_cgroups() {
  cgroups=''
  while IFS= read -r line; do
    # ID PARENT DEVICE ROOT FOLDER OPTIONS... - TYPE SOURCE OPTIONS
    # shellcheck disable=SC2086  # words
    set -- ${line%% - *} - ${line##* - }
    [ "$#" -ge 9 ] || continue
    root=${4%/} folder=$5
    while [ "$#" -gt 3 ]; do shift; done
    case $1,$3, in
      cgroup2,*) find_cgroup '' ;;
      cgroup,*,memory,* | cgroup,memory,*) find_cgroup memory ;;
      cgroup,*,cpu,* | cgroup,cpu,*) find_cgroup cpu ;;
      *) continue ;;
    esac
    add_cgroups "${folder}" "${path}"
  done <<LINES
$(grep -e ' - cgroup2\{0,1\} ' "${NODE}/proc/self/mountinfo" 2>/dev/null)
LINES
}

# find_cgroup CONTROLLER: sets `path` to where this process is below a mount of `root`; version 2 has no controllers.
find_cgroup() {
  path=''
  while IFS=: read -r _ names text; do
    case ,${names}, in *",$1,"*) path=${text%/} ;; *) ;; esac
  done 2>/dev/null <"${NODE}/proc/self/cgroup"
  case ${path}/ in
    */../*) path='' ;; # outside of what this namespace sees
    "${root}"/*) path=${path#"${root}"} ;;
    *) path='' ;; # a path of the host, where only its own part is mounted
  esac
}

add_cgroups() {
  below=$2
  while :; do
    cgroups=${cgroups}${NODE}$1${below}${NEWLINE}
    [ -n "${below}" ] || break
    below=${below%/*}
  done
}

# first_of FILE: sets `value` and `more` to the first words of a file, to nothing where it cannot be read.
first_of() {
  value='' more=''
  [ ! -r "$1" ] || { read -r value more _ <"$1"; } 2>/dev/null
}

lower_cpus_by_cgroups() {
  while IFS= read -r folder; do
    first_of "${folder}/cpu.max"
    quota=${value} period=${more}
    if [ -z "${quota}" ]; then
      first_of "${folder}/cpu.cfs_quota_us"
      quota=${value}
      first_of "${folder}/cpu.cfs_period_us"
      period=${value}
    fi
    if is_count "${quota}" && is_count "${period}"; then
      # (a part of one core is one)
      [ "${quota}" -ge "${period}" ] || quota=${period}
      lower "$((quota / period))" 'its cgroup'
    fi
  done <<LINES
${cgroups}
LINES
}

# Above memory.high a process is slowed down until it seems to hang.
lower_memory_by_cgroups() {
  while IFS= read -r folder; do
    for limit in memory.max memory.high memory.limit_in_bytes; do
      first_of "${folder}/${limit}"
      ! is_count "${value}" || lower "$((value / 1048576))" 'its cgroup'
    done
  done <<LINES
${cgroups}
LINES
}

# count_list LIST: sets `value` to how many a list such as 0-3,8 names, 0 when it is none.
count_list() {
  value=0
  case $1 in *[!0-9,-]*) return 0 ;; *) ;; esac
  rest=$1,
  while [ -n "${rest}" ]; do
    range=${rest%%,*} rest=${rest#*,}
    case ${range%%-*},${range##*-} in ,* | *, | 0?*,* | *,0?*) continue ;; *) ;; esac
    value=$((value + ${range##*-} - ${range%%-*} + 1))
  done
}

# Where nothing keeps batch jobs apart, all cores of the node are this one's; where they are fewer than were asked for,
# that is what the site wants (`overcommit`, a Slurm told so). So the affinity counts only where it is a part of the node.
lower_cpus_by_affinity() {
  first_of "${NODE}/sys/devices/system/cpu/online"
  count_list "${value}"
  online=${value}
  count_list "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "${NODE}/proc/self/status" 2>/dev/null)"
  [ "${value}" -ge "${online}" ] || lower "${value}" 'its affinity'
}

take_cpus() {
  least=${GLIDEPOST_CPUS} who=''
  case ${batch_system} in
    slurm)
      lower "${SLURM_CPUS_ON_NODE:-}" SLURM_CPUS_ON_NODE
      # (of several tasks it is only a part)
      [ "${SLURM_NTASKS:-1}" != 1 ] || lower "${SLURM_CPUS_PER_TASK:-}" SLURM_CPUS_PER_TASK
      ;;
    pbs) lower "${NCPUS:-}" NCPUS ;;
    torque)
      # (-l procs=4 says 1 for each of four "nodes", which may be one)
      if [ "${PBS_NUM_NODES:-1}" = 1 ]; then
        lower "${PBS_NP:-}" PBS_NP
      else
        lower "${PBS_NUM_PPN:-}" PBS_NUM_PPN
      fi
      ;;
    lsf)
      lower "${LSB_DJOB_NUMPROC:-}" LSB_DJOB_NUMPROC
      # "host cpus host cpus", this one first
      first=${LSB_MCPU_HOSTS:-}
      first=${first#* }
      lower "${first%% *}" LSB_MCPU_HOSTS
      ;;
    gridengine) lower "${NSLOTS}" NSLOTS ;;
    htcondor)
      in_ad "${machine_ad}" Cpus
      lower "${value}" 'the slot'
      ;;
    *) ;;
  esac
  lower_cpus_by_affinity
  lower_cpus_by_cgroups
  cpus=${least}
  tell_less "${GLIDEPOST_CPUS}" cpus Cpus
}

take_memory() {
  least=${GLIDEPOST_MEMORY_MIB} who=''
  case ${batch_system} in
    slurm)
      lower "${SLURM_MEM_PER_NODE:-}" SLURM_MEM_PER_NODE
      if is_count "${SLURM_MEM_PER_CPU:-}" && is_count "${SLURM_CPUS_ON_NODE:-}"; then
        lower "$((SLURM_MEM_PER_CPU * SLURM_CPUS_ON_NODE))" SLURM_MEM_PER_CPU
      fi
      if is_count "${SLURM_MEM_PER_GPU:-}" && is_count "${SLURM_GPUS_ON_NODE:-}"; then
        lower "$((SLURM_MEM_PER_GPU * SLURM_GPUS_ON_NODE))" SLURM_MEM_PER_GPU
      fi
      ;;
    pbs)
      # It has no variable, but makes `mem` a limit that Linux knows and does not enforce. (Elsewhere it may be that of
      # one process.)
      # shellcheck disable=SC3045  # where the shell does not have it, it prints nothing
      value=$(ulimit -m 2>/dev/null)
      ! is_count "${value}" || lower "$((value / 1024))" 'ulimit -m'
      ;;
    htcondor)
      in_ad "${machine_ad}" Memory
      lower "${value}" 'the slot'
      ;;
    *) ;;
  esac
  lower_memory_by_cgroups
  memory_mib=${least}
  tell_less "${GLIDEPOST_MEMORY_MIB}" 'MiB of memory' MemoryMiB
  doubt_memory
}

# What is no limit of memory, or may be the site's wish, but explains user jobs that fail.
doubt_memory() {
  # shellcheck disable=SC3045
  value=$(ulimit -v 2>/dev/null)
  if is_count "${value}" && [ "$((value / 1024))" -lt "${memory_mib}" ]; then
    say "the address space is limited to $((value / 1024)) MiB (ulimit -v): user jobs may fail long before they use that"
  fi
  first_of "${NODE}/proc/meminfo"
  is_count "${more}" || more=$((memory_mib * 1024))
  [ "$((more / 1024))" -ge "${memory_mib}" ] || say "this node has $((more / 1024)) MiB of memory in all"
}

# A quota is seen where the file system shows it as its size, as XFS, Lustre and others do.
take_disk() {
  least=${GLIDEPOST_DISK_MIB} who=''
  if [ "${batch_system}" = htcondor ]; then
    in_ad "${machine_ad}" Disk
    ! is_count "${value}" || lower "$((value / 1024))" 'the slot'
  fi
  timeout -s KILL "${ASK_S}" df -P -k . 2>/dev/null >space </dev/null &
  await
  free=$(sed -n '2s/^.* \([0-9]\{1,15\}\) \{1,\}[0-9]\{1,3\}% .*$/\1/p' space 2>/dev/null)
  # (where nothing is free, that cannot be written either)
  if [ ! -s space ] && ! echo full >space; then free=0; fi 2>/dev/null
  rm -f space
  [ -z "${free}" ] || lower_disk "$((free / 1024 - OWN_DISK_MIB))"
  disk_mib=${least}
  tell_less "${GLIDEPOST_DISK_MIB}" 'MiB of disk' DiskMiB
}

# lower_disk MIB: to what is free, unless user jobs could not even start there.
lower_disk() {
  floor=$((GLIDEPOST_DISK_MIB / 10))
  [ "${floor}" -le 100 ] || floor=100
  if [ "$1" -le "${floor}" ]; then
    free_mib=$(($1 + OWN_DISK_MIB))
    finish_slowly no-scratch "${scratch} is full: ${free_mib} MiB are free where user jobs are to get ${least}"
  fi
  lower "$1" 'its scratch folder'
}

# Sets `cpus`, `memory_mib`, `disk_mib` and `gpus`: what was asked for, or less where less is there.
take_resources() {
  find_cgroups
  take_cpus
  take_memory
  take_disk
  gpus=${GLIDEPOST_GPUS}
  ask_deadline
}
