main() {
  catch_signals
  started=$(date +%s)
  started_at=$(now)
  name_glidein
  check_request
  take_deadline
  plan_end
  make_scratch
  plan_logs
  collect_dead
  plan_lifetime
  run_setup
  take_resources
  plan_environment
  take_gpus
  run_checks
  place_token
  take_image
  os_word "${os_release}"
  arch=$(uname -m)
  choose_tarball "${word}" "${arch}" || finish tarball-unavailable "the demand names no tarball for ${word} on ${arch}${unfit}"
  fetch_tarball
  unpack_tarball
  find_gpus
  find_cvmfs
  plan_jobs
  plan_cron
  write_config
  run_condor
  conclude
}

# Nothing below may read standard input: this script may still be coming from there.
main </dev/null
