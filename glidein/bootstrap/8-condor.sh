# --- HTCondor

# Sets the times of the end. Some of the walltime is kept for leaving: HTCondor evicts what still runs `vacate` seconds
# before `to_die`, and `to_die` is `margin` seconds before the batch system would kill us. (schema/puller_config.py
# promises user jobs the same.) With `stagger` all of it comes earlier by this glidein's own part of that time, so that
# those that have begun together do not end together, but never before half of the walltime.
plan_end() {
  margin=60 vacate=30 retire=${GLIDEPOST_RETIRE_S}
  if [ "${walltime_s}" -lt 600 ]; then
    margin=$((walltime_s / 10 + 1)) vacate=$((walltime_s / 20 + 1))
  fi
  # Where less was given than was asked for, no more than a quarter of it goes by without new user jobs.
  if [ "${walltime_s}" -lt "${GLIDEPOST_WALLTIME_S}" ] && [ "${retire}" -gt "$((walltime_s / 4))" ]; then
    retire=$((walltime_s / 4))
  fi
  [ "${retire}" -ge "${margin}" ] || retire=${margin}
  early=$((walltime_s / 2 - retire))
  [ "${early}" -le "${GLIDEPOST_STAGGER_S:-0}" ] || early=${GLIDEPOST_STAGGER_S:-0}
  if [ "${early}" -gt 0 ]; then early=$((0x${random%%-*} % (early + 1))); else early=0; fi
  to_die=$((started + walltime_s - margin - early))
  to_retire=$((started + walltime_s - retire - early))
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

# Sets `preferred`: what the site's own group adds to the rank of its user jobs, more than any other rank should.
prefer_group() {
  preferred='' problem=''
  check_line GLIDEPOST_RANK
  check_text GLIDEPOST_GROUP 'A-Za-z0-9_.-' optional
  [ -z "${problem}" ] || finish bad-request "${problem}"
  [ -z "${GLIDEPOST_GROUP:-}" ] || preferred=" + ifThenElse(TARGET.Affiliation =?= \"${GLIDEPOST_GROUP}\" || \
TARGET.AcctGroup =?= \"${GLIDEPOST_GROUP}\", 1000000000, 0)"
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
# What user jobs of pyglidein look for.
GLIDEIN_SiteResource = "${GLIDEPOST_SHAPE}"
GLIDEIN_Max_Walltime = ${walltime_s}
PYGLIDEIN_TIME_TO_LIVE = GLIDEIN_ToDie - time()
# (For so long the collector keeps the slots of a glidein that was killed without warning; by default 15 minutes.)
ClassAdLifetime = $((10 * GLIDEPOST_UPDATE_S))
STARTD_ATTRS = GLIDEPOST_Site, GLIDEPOST_Shape, GLIDEPOST_Pool, GLIDEPOST_Glidein, GLIDEPOST_BatchJob, GLIDEPOST_Start, \\
  GLIDEIN_Site, GLIDEIN_ToDie, GLIDEIN_ToRetire, GLIDEIN_SiteResource, GLIDEIN_Max_Walltime, \
  PYGLIDEIN_TIME_TO_LIVE, ClassAdLifetime${found_names}${more_names}
${found_lines}
STARTER_JOB_ENVIRONMENT = "$(quote_environment)"

NUM_CPUS = ${cpus}
MEMORY = ${memory_mib}
DISK = $((disk_mib * 1024))
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = true
# (What a kill without warning leaves in the collector must not draw user jobs until it goes. The collector adds when it
# has last heard from us; four updates without a word mean that nobody is here any more.)
START = (${GLIDEPOST_START:-true}) && (time() < GLIDEIN_ToRetire) && \\
  (MY.LastHeardFrom =?= undefined || time() - MY.LastHeardFrom < $((4 * GLIDEPOST_UPDATE_S + 10)))${start_conditions}
SUSPEND = false
CONTINUE = true
PREEMPT = false
KILL = false
RANK = (${GLIDEPOST_RANK:-0})${preferred}
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
# (user jobs may go on until GLIDEIN_ToDie, also when a drain file is seen in the first minute)
SHUTDOWN_GRACEFUL_TIMEOUT = ${walltime_s}
SHUTDOWN_FAST_TIMEOUT = $((KILL_AFTER_S - 1))
MAXJOBRETIREMENTTIME = ifThenElse(JobStart isnt undefined, GLIDEIN_ToDie - JobStart, 0)
# (the default of 600 would be taken off the retirement time)
MACHINEMAXVACATETIME = ${vacate}
# (not among the logs: there are arguments and environments of user jobs in it)
STARTD_HISTORY = ${scratch}/history
CONF
}

write_config() {
  prefer_group
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
    printf '%s' "${more_config}"
  } >condor_config || finish no-scratch "cannot write ${scratch}/condor_config"
}

# Runs HTCondor until it ends; sets `condor_exit`. Nothing of the batch job's environment goes with it but the plan.
run_condor() {
  set -- "CONDOR_CONFIG=${scratch}/condor_config" "TMPDIR=${scratch}/tmp" PATH=/usr/local/bin:/usr/bin:/bin LANG=C
  while IFS= read -r line; do
    [ -z "${line}" ] || set -- "$@" "${line}"
  done <<LINES
${condor_environment}
LINES
  say "starting HTCondor: ${cpus} cpus, ${memory_mib} MiB, ${gpus} GPUs for ${GLIDEPOST_COLLECTORS}"
  [ -z "${ended_by}" ] || finish killed "SIG${ended_by} before HTCondor was started"
  # A shell starts a background command with these ignored, and user jobs would inherit that; an old env cannot undo it.
  set -- "--default-signal=QUIT,$(printf %s "${SIGNALS}" | tr ' ' ',')" "$@"
  env "$1" true 2>/dev/null || shift
  (
    outlive_signals "$1"
    inside env -i "$@" "${scratch}/glidein/sbin/condor_master" -f
  ) >log/console 2>&1 &
  child=$!
  # HTCondor watches the time by itself; this is for an HTCondor that hangs. (Before `phase`: from then on a signal sets an
  # alarm of its own, which this one would replace.)
  set_alarm "$((to_die - $(date +%s) + 1))"
  phase=running
  startd_at=$(date +%s)
  keep_logs_current
  watch_drain_file
  # A signal that came before `phase` was set has not reached HTCondor, or as the slow TERM.
  [ -z "${ended_by}" ] || on_signal "${ended_by}"
  wait_child
  condor_exit=${child_status}
}

in_log() { grep -qs -e "$1" log/StartLog log/StartLog.old; }

conclude() {
  read_usage
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
  [ -z "${draining}" ] || finish drained "${drain_file} is there; ${ran}"
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

