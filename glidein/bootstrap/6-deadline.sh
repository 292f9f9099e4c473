# --- the deadline

# Sets `walltime_s`: what the batch system gives from now on, at most what was asked for: a glidein that believed in
# more would take user jobs that nobody has planned for it. No command is asked before there is a scratch folder.
take_deadline() {
  : "${GLIDEPOST_STAGGER_S:=0}"
  check_number GLIDEPOST_STAGGER_S 0
  [ -z "${problem}" ] || finish bad-request "${problem}"
  name_batch_system
  least=${GLIDEPOST_WALLTIME_S} who=''
  case ${batch_system} in
    slurm) lower_to_end "${SLURM_JOB_END_TIME:-}" SLURM_JOB_END_TIME ;;
    torque) lower "${PBS_WALLTIME:-}" PBS_WALLTIME ;;
    htcondor)
      in_ad "${job_ad}" JobCurrentStartDate
      begun=${value:-${started}}
      in_ad "${job_ad}" GlidepostWalltimeS
      ! is_count "${value}" || lower_to_end "$((begun + value))" GlidepostWalltimeS
      in_ad "${machine_ad}" GLIDEIN_ToDie # the machine is a glidein itself
      lower_to_end "${value}" GLIDEIN_ToDie
      ;;
    *) ;;
  esac
  walltime_s=${least}
  tell_less_time
}

# lower_to_end EPOCH WHO: an end that is over is not this batch job's, for it has just begun: it is not believed.
lower_to_end() {
  is_count "$1" || return 0
  [ "$1" -gt "${started}" ] || say "$2=$1 has passed: it is not believed"
  lower "$(($1 - started))" "$2"
}

# What a batch system takes to start a batch job is no news.
tell_less_time() {
  [ "$((GLIDEPOST_WALLTIME_S - least))" -le 60 ] || tell_less "${GLIDEPOST_WALLTIME_S}" 's of walltime' WalltimeS
}

# seconds_of [DAYS-]HOURS:MINUTES:SECONDS: sets `value`, as Slurm writes times; to nothing when it is none.
seconds_of() {
  value=$(printf '%s\n' "$1" | sed -n -e 's/^[0-9]*:[0-9]*$/0:&/' -e 's/^[0-9]*:[0-9]*:[0-9]*$/0-&/' \
    -e 's/^\([0-9]\{1,6\}\)-0\{0,1\}\([0-9]\{1,2\}\):0\{0,1\}\([0-9]\{1,2\}\):0\{0,1\}\([0-9]\{1,2\}\)$/\1 \2 \3 \4/p')
  [ -n "${value}" ] || return 0
  # shellcheck disable=SC2086  # four words
  set -- ${value}
  value=$((${1} * 86400 + ${2} * 3600 + ${3} * 60 + ${4}))
}

# Slurm 22.05 has no SLURM_JOB_END_TIME, but squeue knows. A controller that does not answer is not waited for.
ask_deadline() {
  if [ "${batch_system}" != slurm ] || [ -n "${SLURM_JOB_END_TIME:-}" ]; then return 0; fi
  is_count "${SLURM_JOB_ID}" && command -v squeue >/dev/null || return 0
  timeout -s KILL "${ASK_S}" env -u SLURM_CLUSTERS squeue -h -j "${SLURM_JOB_ID}" -o %L >left 2>/dev/null </dev/null &
  await || say 'squeue does not say how long this batch job may run: the walltime that was asked for counts'
  read -r value <left || value=''
  rm -f left
  seconds_of "${value}"
  least=${walltime_s} who=squeue
  [ -z "${value}" ] || lower "$(($(date +%s) - started + value))" squeue
  [ "${least}" -lt "${walltime_s}" ] || return 0
  walltime_s=${least}
  tell_less_time
  plan_end
}

