# shellcheck shell=sh
# LSF's commands, the same words for IBM's and for openlava: what the `lsf` backend runs, as
# `sh -c TEXT glidepost-lsf VERB ...`.
#
#   submit LIMIT RESERVED WORD...  runs bsub with these words; LIMIT and RESERVED are KiB, and stand for @limit@ and
#                                  @reserved@ in the words, in the units of this cluster; LIMIT is empty when there
#                                  are none
#   trial LIMIT RESERVED WORD...   the same, held, and removed at once
#   query                          prints our unfinished batch jobs, then why they wait; a line ends each of the two
#   remove ID...                   removes those of these that have not started
#   limits                         prints the queues and the parameters
#
# What fails ends with 1. LSF's own 255 would be ssh's failure to those who are behind ssh.
set -u
LC_ALL=C
export LC_ALL
# Variables that take the answer away, change its form, or choose for who did not say.
unset BSUB_CHK_RESREQ BSUB_QUIET BSUB_QUIET2 BSUB_STDERR LSB_BJOBS_FORMAT LSB_DEFAULTPROJECT LSB_DEFAULTQUEUE \
  LSB_DEFAULT_USERGROUP

# Without it these commands try for ever when the daemons are down, and go on where ssh leaves them behind.
LSB_NTRIES=2
export LSB_NTRIES

# Sets how many KiB are in a unit of -M, and in one of rusage[mem]. LSF's own default is KB for one and MB for the other.
find_units() {
  conf=${LSF_ENVDIR:-/etc}/lsf.conf
  unit=''
  if [ -r "${conf}" ]; then
    unit=$(sed -n 's/^[[:blank:]]*LSF_UNIT_FOR_LIMITS[[:blank:]]*=[[:blank:]]*"\{0,1\}\([A-Za-z]*\).*/\1/p' "${conf}" | tail -n 1)
  fi
  case ${unit} in
    '' | [Kk] | [Kk][Bb]) limit_kib=1 reserved_kib=1024 ;;
    [Mm] | [Mm][Bb]) limit_kib=1024 reserved_kib=1024 ;;
    [Gg] | [Gg][Bb]) limit_kib=1048576 reserved_kib=1048576 ;;
    [Tt] | [Tt][Bb]) limit_kib=1073741824 reserved_kib=1073741824 ;;
    *)
      echo "LSF_UNIT_FOR_LIMITS=${unit} in ${conf} is no unit that Glidepost knows: set memory_unit" >&2
      exit 64
      ;;
  esac
}

# Runs a command with the words that follow, the memory in them in this cluster's units.
with_memory() {
  command=$1 limit=$2 reserved=$3
  shift 3
  if [ -n "${limit}" ]; then
    find_units
    limit=$(((limit + limit_kib - 1) / limit_kib))
    reserved=$(((reserved + reserved_kib - 1) / reserved_kib))
  fi
  left=$#
  while [ "${left}" -gt 0 ]; do
    word=$1
    shift
    case ${word} in
      *@limit@*) word=${word%%@limit@*}${limit}${word#*@limit@} ;;
      *@reserved@*) word=${word%%@reserved@*}${reserved}${word#*@reserved@} ;;
      *) ;;
    esac
    set -- "$@" "${word}"
    left=$((left - 1))
  done
  # Once: a second try after a lost answer would submit a second time, and at a threshold of pending ones bsub would
  # wait a minute for each.
  LSB_NTRIES=1
  "${command}" "$@"
}

submit() {
  bsub "$@" || exit 1
}

try() {
  answer=$(bsub -H "$@") || exit 1
  LSB_NTRIES=3
  batch_id=$(printf '%s\n' "${answer}" | sed -n 's/^Job <\([0-9][0-9]*\)> is submitted .*/\1/p')
  if [ -z "${batch_id}" ] || ! bkill "${batch_id}" >/dev/null; then
    echo "this was submitted and held, and could not be removed: ${answer}" >&2
    exit 1
  fi
}

# Prints what bjobs says of our unfinished batch jobs. None at all is an error to openlava (254), to IBM's only with
# LSB_BJOBS_CONSISTENT_EXIT_CODE (255), so that the words decide.
list() {
  {
    said=$(bjobs -w 2>&1 >&3 3>&-)
    code=$?
  } 3>&1
  case ${said} in
    *'No unfinished job found'*)
      echo 'No unfinished job found'
      return 0
      ;;
    '') ;;
    *) printf '%s\n' "${said}" >&2 ;;
  esac
  return "${code}"
}

query() {
  list || exit 1
  echo '-- bjobs -w ended --'
  bjobs -p 2>/dev/null # none that waits is an error too
  echo '-- bjobs -p ended --'
}

# Prints those of the ids on standard input, up to an empty line, that have not started in the listing behind it.
still_queued() {
  awk '
    !listing && $0 == "" { listing = 1; next }
    !listing { wanted[$0] = 1; next }
    $3 == "PEND" || $3 == "PSUSP" {
      id = $1
      if (id !~ /\[/ && match($0, /\[[0-9]+\] +[A-Z][a-z][a-z] +[0-9]+ +[0-9][0-9]:[0-9][0-9]/)) {
        member = substr($0, RSTART)
        sub(/\].*/, "]", member)
        id = id member
      }
      if (id in wanted) print id
    }'
}

# Prints 7[2] 7[3] 7[4] 9, one a line and in order, as 7[2-4] and 9.
ranges() {
  awk -F '[][]' '
    function flush() {
      if (array != "") print array (first == "" ? "" : first == last ? "[" first "]" : "[" first "-" last "]")
    }
    NF > 1 && $1 == array && $2 == last + 1 { last = $2; next }
    { flush(); array = $1; first = last = $2 }
    END { flush() }'
}

# Sets `status` if one of these is still there; that some are gone by now is as good.
kill_these() {
  said=$(bkill "$@" 2>&1 >/dev/null) && return 0
  if [ -n "${said}" ]; then
    said=$(printf '%s\n' "${said}" | grep -v -e 'already finished' -e 'No matching job found' -e 'is not found')
    [ -n "${said}" ] || return 0
  fi
  echo "bkill: ${said:-failed, and said nothing}" >&2
  status=1
}

remove() {
  listing=$(list) || exit 1
  queued=$({
    printf '%s\n' "$@" ''
    printf '%s\n' "${listing}"
  } | still_queued | sort -t '[' -k 1,1n -k 2,2n | ranges)
  status=0
  set -f # they hold brackets, and no blanks
  # shellcheck disable=SC2086
  set -- ${queued}
  while [ "$#" -gt 0 ]; do
    some='' count=0
    while [ "$#" -gt 0 ] && [ "${count}" -lt 50 ]; do
      some="${some} $1" count=$((count + 1))
      shift
    done
    # shellcheck disable=SC2086
    kill_these ${some}
  done
  exit "${status}"
}

verb=$1
shift
case ${verb} in
  submit) with_memory submit "$@" ;;
  trial) with_memory try "$@" ;;
  query) query ;;
  remove) remove "$@" ;;
  limits)
    bqueues -l || exit 1
    bparams -l || : # only for the size of arrays
    ;;
  *) exit 64 ;;
esac
