# shellcheck shell=sh
# Glideins as processes of this host: what the `local` backend runs, as `sh -c TEXT glidepost-local VERB FOLDER ...`.
#
#   submit FOLDER NAME COUNT BYTES LOGS SIZE HOST
#                                         starts COUNT glideins; the script, BYTES long, comes on standard input; LOGS is a
#                                         folder or empty; prints an id, and the glideins are ID.0, ID.1, ...
#                                         SIZE is "CPUS MIB GPUS" of each; HOST is "CPUS MIB GPU..." for all of them
#                                         together, "auto" where the host is looked at, empty for no bound
#   try FOLDER SIZE HOST                  fails if the host is too small for one such glidein, and starts nothing
#   query FOLDER                          prints a line "ID.INDEX|running|NAME|" for each glidein
#   remove FOLDER ID.INDEX...             ends these: TERM for those that run
#
# One entry (folder) for each glidein, FOLDER/ID.INDEX, with the files
#   name      of the batch job
#   since     epoch seconds of the submission
#   script    what it runs
#   size      "CPUS MIB GPU...": what it takes, with the names of its GPUs
#   process   "PID START BOOT": with its start in clock ticks since the boot, so that another process that got the same
#             PID later is never mistaken for it
#   output    what it prints, unless LOGS is given
#   ended     epoch seconds when it was first seen to be over: the entry is kept for an hour, for its output
# An entry is whole before its process starts, and the process writes its own PID into it before it becomes the glidein.
# So a glidein that runs always has an entry, wherever we are interrupted; an entry without PID is still about to start,
# unless that takes longer than START_S: then it is withdrawn, after which it can not start any more.
#
# Only /proc is asked about processes: ps is missing on minimal machines.
set -u
LC_ALL=C
export LC_ALL

START_S=60
KEEP_S=3600
# What a glidein sees of the caller's environment, as a batch system would show it one of its own.
KEPT='PATH HOME USER LOGNAME SHELL LANG TZ TMPDIR http_proxy https_proxy no_proxy'

die() {
  echo "glidepost-local: $1" >&2
  exit 1
}

# It holds scripts that we run: so it is ours, and nobody else may write to it.
use_folder() {
  account=$(id -u)
  (umask 077 && mkdir -p "${folder}") || die "cannot make ${folder}: options.folder must be one that user ${account} can make"
  owned=$(find "${folder}" -prune -user "${account}") || die "cannot look at ${folder}"
  [ -n "${owned}" ] || die "${folder} does not belong to user ${account}"
  chmod 700 "${folder}" || die "cannot use ${folder}"
  cd "${folder}" || die "cannot enter ${folder}"
  # A read-only or full disk passes a test by [ -w ].
  mkdir ".probe-$$" || die "cannot write to ${folder}"
  rmdir ".probe-$$"
}

# Sets `line` to the first line of a file, or to nothing.
first_line() {
  line=''
  { read -r line <"$1"; } 2>/dev/null
}

# Sets `ticks` to when a process started, or to nothing if there is none; a zombie is none.
look_at() {
  ticks=''
  first_line "/proc/$1/stat"
  # The second field is the command's name in brackets, which may hold anything; fields 3 and 22 follow.
  # shellcheck disable=SC2086  # to be split
  set -- ${line##*) }
  case ${1-Z} in
    Z | X | x) ;;
    *) ticks=${20-} ;;
  esac
}

# Sets `state` of an entry to starting, running or over, and `pid` if it runs.
examine() {
  state=over pid=''
  [ ! -e "$1/ended" ] || return 0
  first_line "$1/process"
  if [ -z "${line}" ]; then
    first_line "$1/since"
    [ "$((now - ${line:-0}))" -ge "${START_S}" ] || state=starting
    return 0
  fi
  # shellcheck disable=SC2086  # to be split
  set -- ${line}
  [ "${3-}" = "${boot}" ] || return 0
  look_at "$1"
  [ -z "${ticks}" ] || [ "${ticks}" != "${2-}" ] || { state=running pid=$1; }
}

# Takes an entry without process away, so that it cannot start. Fails if it has just started.
withdraw() {
  mv "$1" ".withdrawn-$1" 2>/dev/null || return 0
  if [ -e ".withdrawn-$1/process" ]; then
    mv ".withdrawn-$1" "$1"
    return 1
  fi
  rm -rf ".withdrawn-$1"
}

# What to do about an entry whose process is over, or never came to be.
tidy() {
  first_line "$1/ended"
  if [ -n "${line}" ]; then
    [ "$((now - line))" -lt "${KEEP_S}" ] || rm -rf "$1"
  elif [ -e "$1/process" ]; then
    echo "${now}" >"$1/ended"
  else
    withdraw "$1" || state=running
  fi
}

query() {
  # What an interrupted submission left.
  find . ! -name . -prune -name '.*' -mtime +0 -exec rm -rf {} +
  for entry in *.*; do
    [ -d "${entry}" ] || continue
    examine "${entry}"
    [ "${state}" != over ] || tidy "${entry}"
    [ "${state}" != over ] || continue
    first_line "${entry}/name"
    echo "${entry}|${state}|${line}|"
  done
}

remove() {
  for entry; do
    case ${entry} in
      *[!0-9.-]* | .*) die "not an id: ${entry}" ;;
      *) ;;
    esac
    [ -d "${entry}" ] || continue
    examine "${entry}"
    # One that starts in this moment is seen in the second look.
    [ "${state}" != starting ] || withdraw "${entry}" || examine "${entry}"
    [ "${state}" != running ] || kill -s TERM "${pid}"
  done
}

# Makes the entry $1 as a whole. While it is being made it has a name that is not listed.
record() {
  mkdir ".new-$1" || return
  cp ".script-$$" ".new-$1/script" && echo "${name}" >".new-$1/name" && echo "${size}" >".new-$1/size" &&
    date +%s >".new-$1/since" && mv ".new-$1" "$1"
}

# Prints the names of the host's GPUs, those left out on which somebody computes: with nvidia-smi, that have a tenth of
# their memory in use.
look_for_gpus() {
  if command -v nvidia-smi >/dev/null; then
    timeout 20 nvidia-smi --query-gpu=index,memory.used,memory.total --format=csv,noheader,nounits |
      awk -F ', *' '$2 * 10 < $3 { printf "%s ", $1 }'
    return
  fi
  for device in /dev/nvidia[0-9]*; do
    [ ! -c "${device}" ] || printf '%s ' "${device#/dev/nvidia}"
  done
}

# fits WHAT TAKEN EACH HOST: COUNT glideins of that size are within what the host has.
fits() {
  [ "$3" -le "$4" ] || die "refused: $3 $1 each, $4 here"
  [ "$(($2 + $3 * count))" -le "$4" ] || die "full: that would be $(($2 + $3 * count)) of $4 $1"
}

# Sets `gpus` to the names of those that no glidein has. Ends us where the host has no room for COUNT glideins of SIZE.
find_room() {
  # shellcheck disable=SC2086  # to be split
  set -- ${host}
  host_cpus=$1 host_mib=$2
  shift 2
  [ "${host_cpus}" != 'auto' ] || host_cpus=$(nproc)
  [ "${host_mib}" != 'auto' ] || host_mib=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)
  gpus=" $* " cpus=0 mib=0
  for entry in *.*; do
    [ -d "${entry}" ] && [ "${verb}" != try ] || continue
    examine "${entry}"
    first_line "${entry}/size"
    [ "${state}" != over ] || continue
    # shellcheck disable=SC2086  # to be split
    set -- ${line:-1 0}
    cpus=$((cpus + $1)) mib=$((mib + $2))
    shift 2
    taken="${taken-} $*"
  done
  # (a GPU that one of ours computes on is not idle: it is missing here, and taken there)
  [ "${gpus}" != ' auto ' ] || gpus=" $(look_for_gpus) "
  all=$(printf %s "${gpus} ${taken-}" | tr ' ' '\n' | sort -u | grep -c .)
  for gpu in ${taken-}; do
    case ${gpus} in *" ${gpu} "*) gpus="${gpus%%" ${gpu} "*} ${gpus#*" ${gpu} "}" ;; *) ;; esac
  done
  # shellcheck disable=SC2086  # to be split
  set -- ${gpus}
  free=$#
  # shellcheck disable=SC2086  # to be split
  set -- ${ask}
  fits cpus "${cpus}" "$1" "${host_cpus}"
  fits 'MiB of memory' "${mib}" "$2" "${host_mib}"
  # shellcheck disable=SC2086  # to be split
  [ "$3" -le "${all}" ] || die "refused: $3 GPUs each, ${all} here"
  [ "$(($3 * count))" -le "${free}" ] || die "full: $(($3 * count)) GPUs asked for, ${free} free"
}

# Sets `size` to what the next glidein takes, and takes its GPUs from those that are free.
take() {
  # shellcheck disable=SC2086  # to be split
  set -- ${ask}
  size="$1 $2" wanted=$3
  while [ "${wanted}" -gt 0 ]; do
    # shellcheck disable=SC2086  # to be split
    set -- ${gpus}
    size="${size} ${1-}" wanted=$((wanted - 1))
    [ $# -eq 0 ] || shift
    gpus="$*"
  done
}

# What a glidein does first, in its own session. Its PID and start stay the same when it becomes the script.
# shellcheck disable=SC2016  # expanded there
LAUNCH='read -r stat <"/proc/$$/stat" && set -- "$1" ${stat##*) } &&
echo "$$ ${21} ${GLIDEPOST_BOOT}" >"$1/process.new" && mv "$1/process.new" "$1/process" && unset GLIDEPOST_BOOT &&
cd / && exec sh "$1/script"'

# Starts the glidein of an entry.
launch() {
  glidein=${id}.$1
  output=${glidein}/output
  [ -z "${logs}" ] || output=${logs}/${name}-${glidein}.out
  first_line "${glidein}/size"
  # shellcheck disable=SC2086  # to be split
  set -- ${line}
  shift 2
  devices=$*
  set -- GLIDEPOST_BATCH_JOB="${glidein}" GLIDEPOST_BOOT="${boot}"
  [ -z "${devices}" ] || set -- "$@" CUDA_VISIBLE_DEVICES="$(echo "${devices}" | tr ' ' ,)"
  for variable in ${KEPT}; do
    eval "value=\${${variable}-}"
    [ -z "${value}" ] || set -- "$@" "${variable}=${value}"
  done
  env -i "$@" setsid sh -c "${LAUNCH}" glidepost-glidein "${folder}/${glidein}" </dev/null >>"${output}" 2>&1 &
}

submit() {
  name=$1 count=$2 bytes=$3 logs=$4 ask=$5 host=$6 id=${now}-$$
  command -v setsid >/dev/null || die 'no setsid on the PATH: it is part of util-linux'
  [ -z "${logs}" ] || [ -w "${logs}" ] || die "cannot write to ${logs}"
  mask=$(umask)
  umask 077
  trap 'rm -rf ".script-$$"' EXIT
  cat >".script-$$" || die "cannot write to ${folder}"
  # A puller that ends while it writes must not leave half a script running.
  read_bytes=$(wc -c <".script-$$")
  [ "${read_bytes}" -eq "${bytes}" ] || die "read ${read_bytes} bytes of script instead of ${bytes}: nothing was started"
  gpus=''
  [ -z "${host}" ] || find_room
  index=0
  while [ "${index}" -lt "${count}" ]; do
    take
    record "${id}.${index}" || die "cannot write to ${folder}: nothing was started"
    index=$((index + 1))
  done
  umask "${mask}"
  index=0
  while [ "${index}" -lt "${count}" ]; do
    launch "${index}"
    index=$((index + 1))
  done
  echo "${id}"
}

try() {
  ask=$1 host=$2 count=1
  [ -z "${host}" ] || find_room
}

verb=$1 folder=$2
shift 2
case ${verb} in
  submit | try | query | remove) ;;
  *) die "no such verb: ${verb}" ;;
esac
use_folder
now=$(date +%s)
first_line /proc/sys/kernel/random/boot_id
boot=${line:-unknown}
[ -r "/proc/$$/stat" ] || die "no /proc: processes cannot be told apart"
"${verb}" "$@"
