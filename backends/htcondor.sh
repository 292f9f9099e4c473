# shellcheck shell=sh
# HTCondor's clients, as the `htcondor` backend runs them: `sh -c TEXT glidepost-htcondor VERB SCHEDD POOL ...`, where
# SCHEDD and POOL are empty for those of this host's configuration.
#
#   submit SCHEDD POOL DESCRIPTION BYTES HERE LOGS OUTPUT INPUT FILE...
#       submits the script of BYTES bytes that comes on standard input, and prints the range of ids, "5.0 - 5.24";
#       HERE: `here` when the schedd sees this host's files. Then none of them matches a machine until it has been told
#       to read the FILEs, which the ClassAd expression INPUT names, when it starts: a token may be younger by then.
#       What it prints goes to the file that the expression OUTPUT names, in the folder LOGS
#   trial SCHEDD POOL DESCRIPTION BYTES FILE...
#       submits it held, and removes it
#   query SCHEDD POOL
#       prints our glideins as one JSON array
#   remove SCHEDD POOL ID...
#       removes those of these that are queued or held
#   limits SCHEDD POOL
#       prints "slot CPUS MEMORY" for each kind of slot, and "jobs N": how many one submission may have
#
# The numeric account goes into each batch job, because condor_q shows an administrator of the schedd all jobs, and
# because a schedd elsewhere may know this account by another name.
set -u
LC_ALL=C
export LC_ALL

die() {
  echo "glidepost-htcondor: $1" >&2
  exit 1
}

# at PROGRAM ARGUMENT...: runs a client for this schedd.
at() {
  program=$1
  shift
  [ -z "${pool}" ] || set -- -pool "${pool}" "$@"
  [ -z "${schedd}" ] || set -- -name "${schedd}" "$@"
  "${program}" "$@"
}

# Makes the folder that we submit from, with the files `glidein.sh` and `description` in it; it goes when we end.
prepare() {
  description=$1 bytes=$2
  umask 077
  folder=$(mktemp -d "${TMPDIR:-/tmp}/glidepost-XXXXXXXX") || die "cannot make a folder in ${TMPDIR:-/tmp}"
  trap 'cd / && rm -rf "${folder}"' EXIT
  trap 'exit 1' HUP INT TERM
  cd "${folder}" || die "cannot enter ${folder}"
  cat >glidein.sh || die "cannot write to ${folder}"
  # A puller that ends while it writes must not leave half a script running.
  read_bytes=$(wc -c <glidein.sh)
  [ "${read_bytes}" -eq "${bytes}" ] || die "read ${read_bytes} bytes of script instead of ${bytes}: nothing was submitted"
  printf '+GlidepostUid = %s\n%s\n' "${account}" "${description}" >description || die "cannot write to ${folder}"
}

# condor_submit does not look: the batch jobs would be held, one after the other.
look_for() {
  for file; do
    [ -r "${file}" ] || die "cannot read ${file} on $(uname -n): copy it there, or set options.transfer_token = false"
  done
}

submit() {
  here=$3 logs=$4 output=$5 input=$6
  prepare "$1" "$2"
  shift 6
  look_for "$@"
  # -spool: the schedd has a copy of the script then, and removes it with the batch job.
  ids=$(at condor_submit -spool -terse description) || exit
  if [ "${here}" = here ]; then
    [ $# -eq 0 ] || set -- TransferInput "${input}"
    if [ -n "${logs}" ] && [ -d "${logs}" ] && [ -w "${logs}" ]; then set -- "$@" Out "${output}" Err "${output}"; fi
    edit "$@" GlidepostReady true
  fi
  echo "${ids}"
}

# edit ATTRIBUTE VALUE...: changes what was submitted, all at once, or takes it back.
edit() {
  said=$(at condor_qedit -constraint "ClusterId == ${ids%%.*}" "$@" 2>&1) && return
  at condor_rm -constraint "ClusterId == ${ids%%.*}" >/dev/null
  die "${said}"
}

trial() {
  prepare "$1" "$2"
  shift 2
  look_for "$@"
  # Should we be killed now, the schedd removes it within minutes; it may also be quicker than we are.
  ids=$(at condor_submit -terse -append 'hold = true' -append 'periodic_remove = true' description) || exit
  take_off "ClusterId == ${ids%%.*}"
}

# take_off CONSTRAINT: removes the batch jobs that meet it. None of them left is as good.
take_off() {
  said=$(at condor_rm -constraint "$1" 2>&1) && return
  case ${said} in
    *"Couldn't find/remove all jobs matching constraint"*) ;;
    *) die "${said}" ;;
  esac
}

query() {
  ads=$(at condor_q -json -constraint "GlidepostUid == ${account}" \
    -attributes ClusterId,ProcId,JobStatus,GlidepostName,HoldReason,HoldReasonCode,LastRejMatchReason) || exit
  # None is nothing at all to condor_q; but that is what an answer looks like too that was lost on its way to us.
  printf '%s\n' "${ads:-[]}"
}

remove() {
  list=''
  for id; do list=${list}${list:+,}${id}; done
  queued='(JobStatus == 1 || JobStatus == 5)'
  take_off "GlidepostUid == ${account} && ${queued} && stringListMember(strcat(ClusterId, \".\", ProcId), \"${list}\")"
}

limits() {
  set -- -constraint 'SlotType =!= "Dynamic"' -af TotalSlotCpus TotalSlotMemory
  [ -z "${pool}" ] || set -- -pool "${pool}" "$@"
  slots=$(condor_status "$@") || exit
  printf '%s\n' "${slots}" | sort -u | sed -n 's/^./slot &/p'
  printf 'jobs %s\n' "$(at condor_config_val -schedd MAX_JOBS_PER_SUBMISSION 2>/dev/null | head -n 1)"
}

verb=$1 schedd=$2 pool=$3
shift 3
account=$(id -u)
case ${verb} in
  submit | trial | query | remove | limits) "${verb}" "$@" ;;
  *) die "no such verb: ${verb}" ;;
esac
