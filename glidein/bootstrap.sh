#!/bin/sh
# A glidein: joins an HTCondor pool from inside one batch job, runs user jobs, leaves, and leaves nothing behind.
#
# This text stands after a header of GLIDEPOST_* assignments in one batch script, which may also come from standard
# input. So it reads no file of its own, does not look at $0, and does not exec: the shell stays as the parent that
# turns the batch system's kill into a fast end of HTCondor and always removes the scratch folder.
#
# Needs: POSIX sh (dash, bash, busybox ash), coreutils, grep, sed, tar, gzip; curl, wget or python3 to download.
#
# Request (all are required unless it says "may be empty"):
#   GLIDEPOST_NAME SITE GLIDEIN_SITE SHAPE POOL     who it is, advertised in its ClassAds
#   GLIDEPOST_COLLECTORS                            "host:port host:port"
#   GLIDEPOST_CPUS MEMORY_MIB DISK_MIB GPUS         what it offers
#   GLIDEPOST_WALLTIME_S RETIRE_S IDLE_S UPDATE_S   batch limit; its last seconds without new user jobs; how long to
#                                                   stay unclaimed; seconds between updates to the collector
#   GLIDEPOST_TOKEN_FILE                            the pool token
#   GLIDEPOST_TARBALLS                              lines "os arch condor_version sha256 size_bytes url"; the first of
#                                                   this arch with this os (el9, debian12), else the first with "any"
#   GLIDEPOST_SCRATCH      may be empty (then $TMPDIR or /tmp); $VAR, ${VAR} and a leading ~ are expanded here
#   GLIDEPOST_CACHE        may be empty; a folder for tarballs, expanded like the scratch
#   GLIDEPOST_OUTCOMES     may be empty; the folder for the outcome record <glidein id>.json
#   GLIDEPOST_NETWORK_INTERFACE START GPU_DISCOVERY TASK      may be empty
#
# Outcome, and exit code of this script:
#   idle-shutdown        0  ran user jobs, then there was nothing to do for IDLE_S
#   never-claimed        0  was in the pool, and no user job came for IDLE_S
#   deadline             0  the walltime was near its end
#   killed               0  the batch system, or the pool's admin, ended it
#   never-joined         1  no collector took it in: token refused, port closed, wrong address
#   startd-failed        1  HTCondor ended by itself for any other reason
#   tarball-untrusted    1  not the bytes that the signed demand names; nothing of it was run
#   tarball-unavailable  1  no tarball for this node, or it could not be downloaded
#   token-unreadable     1  the token file is missing, unreadable or empty, or holds no token
#   no-scratch           1  no folder to work in
#   bad-request          2  a variable is missing or malformed, or it was started as root
#
# How "never-joined" is known: HTCondor leaves with exit code 0 whether or not the pool took it in, and "Initial update
# sent" is logged in both cases. Only the registration with the connection broker (CCB) proves that the token was good.

# shellcheck disable=SC2154  # the GLIDEPOST_* variables come from the header
# shellcheck disable=SC2312  # where a command's failure inside "$( )" matters, its text is checked

set -u
umask 077
# Ranges such as [a-z] and messages of tools are the same on every node.
LC_ALL=C
export LC_ALL
# What a module of the batch job put here must not decide which libraries tar and curl load.
unset LD_LIBRARY_PATH LD_PRELOAD
PATH=${PATH:+${PATH}:}/usr/local/bin:/usr/bin:/bin

DOWNLOAD_S=600 # the longest that one download may take
KILL_AFTER_S=8 # after a batch system's TERM some wait only 10 s before they KILL
SIGNALS='TERM INT HUP XCPU USR1 USR2'

glidein=unnamed host=unknown batch_job='' scratch='' started='' started_at=''
phase=preparing child='' child_status='' ended_by='' alarm='' condor_exit=null problem='' value=''

# --- words

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

printable() { printf %s "$1" | tr -c '\040-\176' '?'; }

say() { printf '%s glidein %s: %s\n' "$(now)" "${glidein}" "$(printable "$1")"; }

# A JSON string; what is not printable ASCII becomes "?".
json() { printf '"%s"' "$(printable "$1" | sed 's/["\\]/\\&/g')"; }

# Sets `value` to the value of the variable named $1 (the caller makes sure that it is a name).
value_of() { eval "value=\${$1-}"; }

# --- the end

write_outcome() {
  expand "${GLIDEPOST_OUTCOMES:-}" || value=''
  case ${value} in /*) ;; *) return 0 ;; esac
  record=${value%/}/${glidein}.json
  if mkdir -p -- "${value}" && {
    printf '{"kind":"outcome/1","glidein":%s,"name":%s,"shape":%s,' \
      "$(json "${glidein}")" "$(json "${GLIDEPOST_NAME:-}")" "$(json "${GLIDEPOST_SHAPE:-}")"
    printf '"host":%s,"batch_job":%s,"started_at":%s,"ended_at":%s,' \
      "$(json "${host}")" "$(json "${batch_job}")" "$(json "${started_at}")" "$(json "$(now)")"
    printf '"outcome":%s,"detail":%s,"condor_exit":%s}\n' "$(json "$1")" "$(json "$2")" "${condor_exit}"
  } >"${record}.part"; then
    mv -- "${record}.part" "${record}"
  else
    say "cannot write the outcome record ${record}"
  fi
}

# Ends what still runs out of the scratch folder: HTCondor gives each of its processes and user jobs a variable that
# names a path in it, and no process of another glidein has that.
end_leftovers() {
  # shellcheck disable=SC2013  # these are words: /proc/<number>/environ
  for entry in $(grep -lsF -e "${scratch}/" /proc/[0-9]*/environ); do
    pid=${entry#/proc/}
    pid=${pid%/environ}
    [ "${pid}" = "$$" ] || kill -s KILL "${pid}" 2>/dev/null
  done
}

remove_scratch() {
  case ${scratch} in */glidepost-*) ;; *) return 0 ;; esac
  for pause in 0 1 2; do
    sleep "${pause}"
    end_leftovers
    rm -rf -- "${scratch}" 2>/dev/null && return 0
    # A user job may leave folders that even their owner cannot enter.
    chmod -R u+rwX "${scratch}" 2>/dev/null
  done
  rm -rf -- "${scratch}" || say "could not remove ${scratch}"
}

show_logs() {
  for log in MasterLog StartLog console; do
    [ -s "${scratch}/log/${log}" ] || continue
    say "the end of ${log}:"
    tail -n 20 "${scratch}/log/${log}"
  done
}

# finish OUTCOME DETAIL: the only way out.
finish() {
  # shellcheck disable=SC2086  # a list of signals
  trap '' ${SIGNALS} ALRM
  trap - EXIT
  cancel_alarm
  case $1 in
    idle-shutdown | never-claimed | deadline | killed) code=0 ;;
    bad-request) code=2 ;;
    *) code=1 ;;
  esac
  [ "${code}" = 0 ] || [ -z "${scratch}" ] || show_logs
  say "outcome $1: $2"
  # The record first: a batch system that loses patience must not cost us the reason.
  write_outcome "$1" "$2"
  remove_scratch
  exit "${code}"
}

# --- signals

cancel_alarm() {
  [ -z "${alarm}" ] || kill "${alarm}" 2>/dev/null
  alarm=''
}

# Sends ALRM to this shell after $1 seconds. The sleep carries the scratch folder's name so that end_leftovers finds it.
set_alarm() {
  cancel_alarm
  (
    sleeper=''
    trap 'kill ${sleeper}; exit 0' TERM
    GLIDEPOST_ALARM="${scratch}/" sleep "$1" &
    sleeper=$!
    wait "${sleeper}" && kill -s ALRM "$$"
  ) >/dev/null 2>&1 &
  alarm=$!
}

on_signal() {
  interrupted=yes
  : "${ended_by:=$1}"
  case ${phase}:$1 in
    preparing:*) [ -z "${child}" ] || kill -s TERM "${child}" 2>/dev/null ;;
    running:*)
      # TERM would let user jobs run out their retirement time; QUIT is HTCondor's fast shutdown.
      phase=leaving
      say "got $1: HTCondor has ${KILL_AFTER_S} s to leave"
      kill -s QUIT "${child}" 2>/dev/null
      set_alarm "${KILL_AFTER_S}"
      ;;
    leaving:ALRM) kill -s KILL "${child}" 2>/dev/null ;;
    *) ;;
  esac
}

catch_signals() {
  for signal in ${SIGNALS} ALRM; do
    # shellcheck disable=SC2064  # the name is meant to expand now
    trap "on_signal ${signal}" "${signal}"
  done
  # A closed standard output must not end us before the scratch is gone; a caught signal is not inherited.
  trap : PIPE
  trap 'finish startd-failed "the glidein script itself failed"' EXIT
}

# Waits for the child and sets `child_status`. A trap only interrupts `wait`, so ask again until the child is gone.
wait_child() {
  interrupted=yes
  while [ "${interrupted}" = yes ]; do
    interrupted=no
    wait "${child}"
    child_status=$?
  done
  child=''
}

# Runs a command so that a signal is acted on at once (a shell runs its traps only when a foreground command has ended).
run() {
  "$@" &
  child=$!
  wait_child
  [ -z "${ended_by}" ] || finish killed "SIG${ended_by} before HTCondor was started"
  return "${child_status}"
}

# --- the request

bad() {
  printf 'glidein: bad request: %s\n' "$(printable "$1")" >&2
  : "${problem:=$1}"
}

# check_text VARIABLE CHARACTERS [optional]
check_text() {
  value_of "$1"
  case ${value} in
    '') [ "${3-}" = optional ] || bad "$1 is missing" ;;
    *[!$2]*) bad "$1 may only hold the characters $2: '${value}'" ;;
    *) ;;
  esac
}

# check_number VARIABLE LEAST
check_number() {
  value_of "$1"
  case ${value} in
    '') bad "$1 is missing" ;;
    *[!0-9]* | 0?* | ??????????*) bad "$1 is not a whole number below 10^9: '${value}'" ;;
    *) [ "${value}" -ge "$2" ] || bad "$1 must be at least $2: ${value}" ;;
  esac
}

# One line of condor_config: a newline or a trailing backslash would reach into the next line.
check_line() {
  value_of "$1"
  case ${value} in
    *[!\ -~]* | *\\) bad "$1 must be one line of printable ASCII without a backslash at its end" ;;
    *) ;;
  esac
}

# check_folder VARIABLE: empty or an absolute path, or one that $VAR or ~ starts.
check_folder() {
  check_line "$1"
  # shellcheck disable=SC2088  # `expand` takes care of the ~
  case ${value} in
    '' | /* | '$'* | '~' | '~/'*) ;;
    *) bad "$1 is not an absolute path: '${value}'" ;;
  esac
}

check_collectors() {
  check_text GLIDEPOST_COLLECTORS 'A-Za-z0-9.: -'
  for collector in ${value}; do
    case ${collector} in
      *:*:* | :* | *: | *:*[!0-9]*) bad "GLIDEPOST_COLLECTORS: '${collector}' is not host:port" ;;
      *:*) ;;
      *) bad "GLIDEPOST_COLLECTORS: '${collector}' has no port" ;;
    esac
  done
}

check_tarballs() {
  [ -n "${GLIDEPOST_TARBALLS:-}" ] || bad 'GLIDEPOST_TARBALLS is missing'
  while read -r os arch version sha256 size url more; do
    if [ -z "${url}" ] || [ -n "${more}" ]; then bad 'GLIDEPOST_TARBALLS: a line is not six words'; fi
    case ${os}${arch}${version}${url} in *[!!-~]*) bad 'GLIDEPOST_TARBALLS: not printable ASCII' ;; *) ;; esac
    case ${sha256} in *[!0-9a-f]*) bad "GLIDEPOST_TARBALLS: '${sha256}' is not a sha256" ;; *) ;; esac
    [ "${#sha256}" -eq 64 ] || bad "GLIDEPOST_TARBALLS: '${sha256}' is not a sha256"
    case ${size} in '' | *[!0-9]* | 0* | ??????????*) bad "GLIDEPOST_TARBALLS: '${size}' is not a size" ;; *) ;; esac
    case ${url} in
      https://?* | http://?* | file:///?*) ;;
      *) bad "GLIDEPOST_TARBALLS: '${url}' is not a https, http or file URL" ;;
    esac
  done <<LINES
${GLIDEPOST_TARBALLS:-}
LINES
}

check_request() {
  [ "$(id -u)" != 0 ] || bad 'a glidein does not run as root: user jobs would be root too'
  check_text GLIDEPOST_NAME 'a-z0-9-'
  [ "${#value}" -le 15 ] || bad "GLIDEPOST_NAME has more than 15 characters: '${value}'"
  for variable in SITE GLIDEIN_SITE SHAPE POOL; do check_text "GLIDEPOST_${variable}" 'A-Za-z0-9_.-'; done
  for variable in CPUS MEMORY_MIB DISK_MIB WALLTIME_S IDLE_S UPDATE_S; do check_number "GLIDEPOST_${variable}" 1; done
  for variable in GPUS RETIRE_S; do check_number "GLIDEPOST_${variable}" 0; done
  check_collectors
  check_folder GLIDEPOST_TOKEN_FILE
  [ -n "${value}" ] || bad 'GLIDEPOST_TOKEN_FILE is missing'
  check_tarballs
  for variable in SCRATCH CACHE OUTCOMES; do check_folder "GLIDEPOST_${variable}"; done
  for variable in START GPU_DISCOVERY; do check_line "GLIDEPOST_${variable}"; done
  check_text GLIDEPOST_NETWORK_INTERFACE 'A-Za-z0-9.:_*-' optional
  if [ -z "${problem}" ] && [ "${GLIDEPOST_RETIRE_S}" -ge "${GLIDEPOST_WALLTIME_S}" ]; then
    bad "GLIDEPOST_RETIRE_S=${GLIDEPOST_RETIRE_S} leaves nothing of GLIDEPOST_WALLTIME_S=${GLIDEPOST_WALLTIME_S}"
  fi
  [ -z "${problem}" ] || finish bad-request "${problem}"
}

# --- names

# Sets `batch_job`: the batch job as its own batch system spells it.
find_batch_job() {
  if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then
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
  [ -z "${GLIDEPOST_TASK:-}" ] || batch_job=${batch_job}.${GLIDEPOST_TASK}
  batch_job=$(printable "${batch_job}")
}

# Sets `glidein`: unique in the pool, and safe in a path, a ClassAd and a daemon's name.
name_glidein() {
  find_batch_job
  host=$(printf %s "$(uname -n)" | tr -c 'A-Za-z0-9.-' '-')
  read -r random </proc/sys/kernel/random/uuid
  glidein=$(printf %s "${GLIDEPOST_NAME:-unnamed}-${batch_job}" | tr -c 'A-Za-z0-9' '-' | cut -c 1-60)-${random%%-*}
}

# --- scratch and token

# expand TEXT: sets `value` to it with $VAR, ${VAR} and a leading ~ replaced; 1 when a variable has no value.
expand() {
  rest=$1 expanded=''
  # shellcheck disable=SC2088  # this is what expands the ~
  case ${rest} in '~' | '~/'*) rest="\$HOME${rest#'~'}" ;; *) ;; esac
  while :; do
    case ${rest} in *'$'*) ;; *) break ;; esac
    expanded=${expanded}${rest%%'$'*}
    rest=${rest#*'$'}
    case ${rest} in
      '{'*'}'*)
        variable=${rest#'{'}
        variable=${variable%%'}'*}
        rest=${rest#*'}'}
        ;;
      *)
        variable=${rest%%[!A-Za-z0-9_]*}
        rest=${rest#"${variable}"}
        ;;
    esac
    case ${variable} in '' | [0-9]* | *[!A-Za-z0-9_]*) return 1 ;; *) value_of "${variable}" ;; esac
    [ -n "${value}" ] || return 1
    expanded=${expanded}${value}
  done
  value=${expanded}${rest}
}

# Makes the private scratch folder in the first of the folders given; 1 when none will have it.
make_scratch_in() {
  for folder in "$@"; do
    case ${folder} in /*) ;; *) continue ;; esac
    mkdir -- "${folder%/}/glidepost-${glidein}" 2>/dev/null || continue
    scratch=${folder%/}/glidepost-${glidein}
    return 0
  done
  return 1
}

make_scratch() {
  if [ -n "${GLIDEPOST_SCRATCH:-}" ]; then
    expand "${GLIDEPOST_SCRATCH}" || finish no-scratch "a variable of ${GLIDEPOST_SCRATCH} is not set on this node"
    make_scratch_in "${value}" || finish no-scratch "cannot make a folder in ${value}"
  else
    make_scratch_in "${TMPDIR:-/tmp}" /tmp || finish no-scratch "cannot make a folder in ${TMPDIR:-/tmp} or /tmp"
  fi
  case ${scratch} in *[!A-Za-z0-9_./+@,:=-]*) finish no-scratch "HTCondor cannot work in a folder of this name: ${scratch}" ;; *) ;; esac
  cd -- "${scratch}" || finish no-scratch "cannot enter ${scratch}"
  mkdir log lock run tmp tokens.d keys.d || finish no-scratch "cannot write into ${scratch}"
  mkdir -m 755 execute || finish no-scratch "cannot write into ${scratch}"
  say "scratch is ${scratch} on ${host}"
}

place_token() {
  expand "${GLIDEPOST_TOKEN_FILE}" || finish token-unreadable "a variable of ${GLIDEPOST_TOKEN_FILE} is not set on this node"
  token=$(cat -- "${value}" 2>/dev/null) || finish token-unreadable "cannot read ${value} on this node"
  case ${token} in
    '') finish token-unreadable "${value} is empty" ;;
    *[!A-Za-z0-9_.-]*) finish token-unreadable "${value} holds no token" ;;
    ?*.?*.?*) printf '%s\n' "${token}" >tokens.d/pool ;;
    *) finish token-unreadable "${value} holds no token" ;;
  esac
  unset token
  # The glidein's daemons prove themselves to each other with a key that nobody else has. It must not lie among the
  # tokens: HTCondor reads every file there, and some random bytes make it loop for ever.
  head -c 32 /dev/urandom >keys.d/local
}

# --- the tarball

# os_word FILE: sets `word` to ID and major VERSION_ID of an os-release file: debian12, ubuntu24, and el9 for RHEL and
# its rebuilds.
os_word() {
  os_id='' os_version=''
  while IFS='=' read -r key text || [ -n "${key}" ]; do # (the last line may lack its newline)
    text=${text#[\"\']}
    text=${text%[\"\']}
    case ${key} in
      ID) os_id=${text} ;;
      VERSION_ID) os_version=${text%%.*} ;;
      *) ;;
    esac
  done 2>/dev/null <"$1"
  case ${os_id} in rhel | centos | almalinux | rocky | ol | scientific) os_id=el ;; *) ;; esac
  word=${os_id}${os_version}
}

# choose_tarball OS ARCH: sets `tarball` to the line to use; 1 when none fits.
choose_tarball() {
  tarball='' fallback=''
  while read -r os arch line; do
    [ "${arch}" = "$2" ] || continue
    [ "${os}" != "$1" ] || : "${tarball:=${line}}"
    [ "${os}" != any ] || : "${fallback:=${line}}"
  done <<LINES
${GLIDEPOST_TARBALLS}
LINES
  : "${tarball:=${fallback}}"
  [ -n "${tarball}" ]
}

# download URL FILE: 0 when a tool says that all of it has come; what it said otherwise is in download.log.
download() {
  case $1 in
    file://*)
      run cp -- "${1#file://}" "$2" 2>download.log
      return
      ;;
    *) ;;
  esac
  if command -v curl >/dev/null; then
    run timeout "${DOWNLOAD_S}" curl -fsSL --connect-timeout 20 --max-filesize "${size}" -o "$2" -- "$1" 2>download.log
  elif command -v wget >/dev/null; then
    run timeout "${DOWNLOAD_S}" wget -T 20 -O "$2" -- "$1" 2>download.log
  elif command -v python3 >/dev/null; then
    run timeout "${DOWNLOAD_S}" python3 -c 'import shutil, sys, urllib.request as u
shutil.copyfileobj(u.urlopen(sys.argv[1], timeout=20), open(sys.argv[2], "wb"))' "$1" "$2" 2>download.log
  else
    echo 'this node has neither curl, wget nor python3' >download.log
    return 1
  fi
}

# is_intact FILE: 0 when it is what the demand names, else `difference` says why not.
is_intact() {
  found=$(($(wc -c <"$1")))
  if [ "${found}" != "${size}" ]; then
    difference="has ${found} bytes where the demand says ${size}"
    return 1
  fi
  found=$(sha256sum <"$1")
  [ "${found%% *}" = "${sha256}" ] && return 0
  difference="has sha256 ${found%% *} where the demand says ${sha256}"
  return 1
}

# Sets `cached`, or nothing without a cache. A copy is made before it is checked, so that nobody can swap it after.
take_from_cache() {
  cached=''
  [ -n "${GLIDEPOST_CACHE:-}" ] && expand "${GLIDEPOST_CACHE}" || return 1
  cached=${value%/}/${sha256}.tar.gz
  [ -r "${cached}" ] || return 1
  run cp -- "${cached}" tarball && is_intact tarball && return 0
  say "${cached} ${difference:-cannot be read}: taking another"
  return 1
}

put_into_cache() {
  [ -n "${cached}" ] || return 0
  if mkdir -p -- "${cached%/*}" && cp -- tarball "${cached}.${glidein}"; then
    mv -f -- "${cached}.${glidein}" "${cached}" && return 0
  fi 2>/dev/null
  rm -f -- "${cached}.${glidein}" 2>/dev/null
  say "could not put the tarball into the cache as ${cached}"
}

# Leaves the checked file `tarball` in scratch, or ends the glidein.
fetch_tarball() {
  read -r version sha256 size url <<LINE
${tarball}
LINE
  if take_from_cache; then
    say "HTCondor ${version} from the cache"
    return
  fi
  for pause in 2 6 ''; do
    outcome='tarball-unavailable'
    if download "${url}" tarball; then
      if is_intact tarball; then
        say "HTCondor ${version} from ${url}"
        put_into_cache
        return
      fi
      outcome='tarball-untrusted' problem="${url} ${difference}"
      # The right length with other bytes is no accident of the network.
      [ "${difference}" = "${difference#has sha256}" ] || break
    else
      problem="${url}: $(grep . download.log | tail -n 1)"
    fi
    say "${problem}"
    [ -z "${pause}" ] || run sleep "${pause}"
  done
  finish "${outcome}" "${problem}"
}

unpack_tarball() {
  tar -tzf tarball >names 2>/dev/null || finish tarball-untrusted 'it is no gzipped tar file'
  if grep -v -e '^glidein/' names >outside || grep -e '/\.\.$' -e '/\.\./' names >outside; then
    finish tarball-untrusted "it holds $(head -n 1 outside), which is outside of glidein/"
  fi
  run tar -xzf tarball || finish no-scratch "could not unpack HTCondor into ${scratch}"
  rm -f tarball names outside
  [ -x glidein/sbin/condor_master ] || finish tarball-untrusted 'it holds no glidein/sbin/condor_master'
}

# --- HTCondor

# Sets the times of the end. Some of the walltime is kept for leaving: HTCondor evicts what still runs `vacate` seconds
# before `to_die`, and `to_die` is `margin` seconds before the batch system would kill us.
plan_end() {
  margin=60 vacate=30
  if [ "${GLIDEPOST_WALLTIME_S}" -lt 600 ]; then
    margin=$((GLIDEPOST_WALLTIME_S / 10 + 1)) vacate=$((GLIDEPOST_WALLTIME_S / 20 + 1))
  fi
  to_die=$((started + GLIDEPOST_WALLTIME_S - margin))
  to_retire=$((started + GLIDEPOST_WALLTIME_S - GLIDEPOST_RETIRE_S))
  [ "${to_retire}" -le "${to_die}" ] || to_retire=${to_die}
}

# The settings that depend on the pool and on the node; every trap that they avoid was met in a run that went wrong.
config_of_pool() {
  collectors=$(printf %s "${GLIDEPOST_COLLECTORS}" | tr -s ' ' ',')
  # A node may have no name in DNS; but then HTCondor would not look up the collector's either.
  no_dns=true
  case ${GLIDEPOST_COLLECTORS} in *[A-Za-z]*) no_dns=false ;; *) ;; esac
  cat <<CONF
# Outgoing connections only: the pool reaches this startd through the collector's connection broker.
COLLECTOR_HOST = ${collectors}
CONDOR_HOST = ${collectors%%:*}
CCB_ADDRESS = \$(COLLECTOR_HOST)
# NAT boxes forget a connection that is silent for longer.
CCB_HEARTBEAT_INTERVAL = 120
USE_SHARED_PORT = false
ENABLE_IPV6 = false
NO_DNS = ${no_dns}
NETWORK_HOSTNAME = ${host}
DEFAULT_DOMAIN_NAME = glidein.invalid
UID_DOMAIN = glidein.invalid
FILESYSTEM_DOMAIN = glidein.invalid
${GLIDEPOST_NETWORK_INTERFACE:+NETWORK_INTERFACE = ${GLIDEPOST_NETWORK_INTERFACE}}
${GLIDEPOST_NETWORK_INTERFACE:+BIND_ALL_INTERFACES = false}

SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_ENCRYPTION = REQUIRED
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS
SEC_TOKEN_DIRECTORY = ${scratch}/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = ${scratch}/tokens.d
SEC_ENABLE_MATCH_PASSWORD_AUTHENTICATION = true
# On the collector's own host the daemons would offer it their family session, be refused, and lose the first update.
# Without it they need a trust domain and a key of their own, or the startd cannot speak to its starters.
SEC_USE_FAMILY_SESSION = false
SEC_PASSWORD_DIRECTORY = ${scratch}/keys.d
SEC_TOKEN_POOL_SIGNING_KEY_FILE = ${scratch}/keys.d/local
TRUST_DOMAIN = ${glidein}
ALLOW_READ = submit-side@matchsession
ALLOW_WRITE = submit-side@matchsession
ALLOW_DAEMON = submit-side@matchsession, condor@*
ALLOW_ADMINISTRATOR =
ALLOW_CLIENT = *
CONF
}

config_of_slot() {
  cat <<CONF
# (with no MASTER_NAME a uid that has no passwd entry is an error)
MASTER_NAME = ${glidein}@${host}
STARTD_NAME = ${glidein}@${host}
GLIDEPOST_Site = "${GLIDEPOST_SITE}"
GLIDEPOST_Shape = "${GLIDEPOST_SHAPE}"
GLIDEPOST_Pool = "${GLIDEPOST_POOL}"
GLIDEPOST_Glidein = "${glidein}"
GLIDEPOST_BatchJob = $(json "${batch_job}")
GLIDEPOST_Start = ${started}
GLIDEIN_Site = "${GLIDEPOST_GLIDEIN_SITE}"
GLIDEIN_ToDie = ${to_die}
GLIDEIN_ToRetire = ${to_retire}
STARTD_ATTRS = GLIDEPOST_Site, GLIDEPOST_Shape, GLIDEPOST_Pool, GLIDEPOST_Glidein, GLIDEPOST_BatchJob, GLIDEPOST_Start, \\
  GLIDEIN_Site, GLIDEIN_ToDie, GLIDEIN_ToRetire

NUM_CPUS = ${GLIDEPOST_CPUS}
MEMORY = ${GLIDEPOST_MEMORY_MIB}
DISK = $((GLIDEPOST_DISK_MIB * 1024))
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = true
START = (${GLIDEPOST_START:-true}) && (time() < GLIDEIN_ToRetire)
SUSPEND = false
CONTINUE = true
PREEMPT = false
KILL = false
RANK = 0
CONF
  [ "${GLIDEPOST_GPUS}" = 0 ] || cat <<CONF
MACHINE_RESOURCE_INVENTORY_GPUS = \$(LIBEXEC)/condor_gpu_discovery -properties ${GLIDEPOST_GPU_DISCOVERY:-}
ENVIRONMENT_FOR_AssignedGPUs = GPU_DEVICE_ORDINAL=/(CUDA|OCL)//  CUDA_VISIBLE_DEVICES=/CUDA//
ENVIRONMENT_VALUE_FOR_UnAssignedGPUs = 10000
CONF
}

config_of_end() {
  cat <<CONF
# Both kinds of shutdown are looked at only when an ad is updated, by default every five minutes.
UPDATE_INTERVAL = ${GLIDEPOST_UPDATE_S}
MASTER_UPDATE_INTERVAL = ${GLIDEPOST_UPDATE_S}
STARTD_NOCLAIM_SHUTDOWN = ${GLIDEPOST_IDLE_S}
# The master's, not the startd's: else the master would stay and hold the batch slot.
MASTER.DAEMON_SHUTDOWN = (time() >= ${to_retire}) || (STARTD_StartTime =?= 0 && time() - DaemonStartTime > 60)
SHUTDOWN_GRACEFUL_TIMEOUT = $((GLIDEPOST_RETIRE_S + 60))
SHUTDOWN_FAST_TIMEOUT = $((KILL_AFTER_S - 1))
MAXJOBRETIREMENTTIME = ifThenElse(JobStart isnt undefined, GLIDEIN_ToDie - JobStart, 0)
# (the default of 600 would be taken off the retirement time)
MACHINEMAXVACATETIME = ${vacate}
CONF
}

write_config() {
  plan_end
  {
    cat <<CONF
RELEASE_DIR = ${scratch}/glidein
SBIN = \$(RELEASE_DIR)/sbin
BIN = \$(RELEASE_DIR)/bin
LIB = \$(RELEASE_DIR)/lib
LIBEXEC = \$(RELEASE_DIR)/libexec
LOCAL_DIR = ${scratch}
LOG = ${scratch}/log
EXECUTE = ${scratch}/execute
LOCK = ${scratch}/lock
RUN = ${scratch}/run
LOCAL_CONFIG_DIR =
LOCAL_CONFIG_FILE =
REQUIRE_LOCAL_CONFIG_FILE = false
USER_CONFIG_FILE =
DAEMON_LIST = MASTER, STARTD
FILETRANSFER_PLUGINS = \$(LIBEXEC)/curl_plugin
CREATE_CORE_FILES = false
RunBenchmarks = false
# (with a value the startd would run the node's java and docker to see what they are)
JAVA =
DOCKER =
# (a newer startd in an older pool never matches without this)
CATALOG_SPACE = 0
CONF
    config_of_pool
    config_of_slot
    config_of_end
  } >condor_config || finish no-scratch "cannot write ${scratch}/condor_config"
}

# Runs HTCondor until it ends; sets `condor_exit`. Nothing of the batch job's environment goes with it but this list.
run_condor() {
  set -- "CONDOR_CONFIG=${scratch}/condor_config" "TMPDIR=${scratch}/tmp" PATH=/usr/local/bin:/usr/bin:/bin LANG=C
  for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY CUDA_VISIBLE_DEVICES; do
    value_of "${variable}"
    [ "${variable}" != CUDA_VISIBLE_DEVICES ] || [ "${GLIDEPOST_GPUS}" != 0 ] || value=''
    [ -z "${value}" ] || set -- "$@" "${variable}=${value}"
  done
  say "starting HTCondor: ${GLIDEPOST_CPUS} cpus, ${GLIDEPOST_MEMORY_MIB} MiB, ${GLIDEPOST_GPUS} GPUs for ${GLIDEPOST_COLLECTORS}"
  [ -z "${ended_by}" ] || finish killed "SIG${ended_by} before HTCondor was started"
  # A shell starts a background command with these ignored, and user jobs would inherit that; an old env cannot undo it.
  ! env --default-signal=INT,QUIT true 2>/dev/null || set -- --default-signal=INT,QUIT "$@"
  env -i "$@" "${scratch}/glidein/sbin/condor_master" -f >log/console 2>&1 &
  child=$!
  phase=running
  # A signal that came before `phase` was set has not reached HTCondor.
  [ -z "${ended_by}" ] || on_signal "${ended_by}"
  # HTCondor watches the time by itself; this is for an HTCondor that hangs.
  [ "${phase}" != running ] || set_alarm "$((to_die - $(date +%s) + 1))"
  wait_child
  condor_exit=${child_status}
}

in_log() { grep -qs -e "$1" log/StartLog log/StartLog.old; }

conclude() {
  user_jobs=$(cat log/StartLog.old log/StartLog 2>/dev/null | grep -c 'Got activate_claim request')
  ran="${user_jobs} user jobs started"
  case ${ended_by} in
    '') ;;
    ALRM) finish deadline "HTCondor had not left ${margin} s before the end of the walltime; ${ran}" ;;
    *) finish killed "SIG${ended_by}; ${ran}" ;;
  esac
  case ${condor_exit} in
    0 | 99) ;; # 99: DAEMON_SHUTDOWN became true
    *) finish startd-failed "condor_master ended with ${condor_exit}; ${ran}" ;;
  esac
  if ! in_log 'CCBListener: registered with CCB server'; then
    # (the first 18 characters are the time)
    reason=$(grep -s -e 'ERROR: ' -e "Can't resolve" log/StartLog | tail -n 1 | cut -c 19-300)
    finish never-joined "no collector of ${GLIDEPOST_COLLECTORS} took this glidein in: ${reason:-no error in StartLog}"
  fi
  if in_log 'No resources have been claimed for'; then
    [ "${user_jobs}" != 0 ] || finish never-claimed "in the pool, and no user job came for ${GLIDEPOST_IDLE_S} s"
    finish idle-shutdown "nothing to do for ${GLIDEPOST_IDLE_S} s; ${ran}"
  fi
  [ "$(date +%s)" -lt "${to_retire}" ] || finish deadline "the walltime ends; ${ran}"
  [ "${condor_exit}" != 0 ] || finish killed "HTCondor was told by the pool to end; ${ran}"
  finish startd-failed "condor_master gave up its startd; ${ran}"
}

main() {
  catch_signals
  started=$(date +%s)
  started_at=$(now)
  name_glidein
  check_request
  make_scratch
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
