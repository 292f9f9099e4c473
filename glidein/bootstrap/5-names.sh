# --- names

# Sets `batch_job`: the batch job as its own batch system spells it.
find_batch_job() {
  if [ -n "${GLIDEPOST_BATCH_JOB:-}" ]; then
    batch_job=${GLIDEPOST_BATCH_JOB}
  elif [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then
    batch_job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID:-}
  elif [ -n "${SLURM_JOB_ID:-}${PBS_JOBID:-}" ]; then
    batch_job=${SLURM_JOB_ID:-${PBS_JOBID:-}} # a subjob of a PBS array has its index in the id
  elif [ -n "${LSB_JOBID:-}" ]; then
    batch_job=${LSB_JOBID}
    [ "${LSB_JOBINDEX:-0}" = 0 ] || batch_job="${LSB_JOBID}[${LSB_JOBINDEX}]"
  elif [ -n "${JOB_ID:-}" ]; then
    batch_job=${JOB_ID}
    [ "${SGE_TASK_ID:-undefined}" = undefined ] || batch_job=${JOB_ID}.${SGE_TASK_ID}
  else
    batch_job=$$
  fi
  batch_job=$(printable "${batch_job}")
}

# Sets `glidein`: unique in the pool, and safe in a path, a ClassAd and a daemon's name.
name_glidein() {
  find_batch_job
  host=$(printf %s "$(uname -n)" | tr -c 'A-Za-z0-9.-' '-')
  read -r random </proc/sys/kernel/random/uuid
  glidein=$(printf %s "${GLIDEPOST_NAME:-unnamed}-${batch_job}" | tr -c 'A-Za-z0-9' '-' | cut -c 1-60)-${random%%-*}
}

