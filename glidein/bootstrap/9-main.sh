main() {
  catch_signals
  started=$(date +%s)
  started_at=$(now)
  name_glidein
  check_request
  plan_end
  make_scratch
  run_setup
  plan_environment
  run_checks
  place_token
  os_word /etc/os-release
  arch=$(uname -m)
  choose_tarball "${word}" "${arch}" || finish tarball-unavailable "the demand names no tarball for ${word} on ${arch}"
  fetch_tarball
  unpack_tarball
  write_config
  run_condor
  conclude
}

# Nothing below may read standard input: this script may still be coming from there.
main </dev/null
