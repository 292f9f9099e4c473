# --- scratch and token

# expand TEXT [LOOKUP]: sets `value` to it with $VAR, ${VAR} and a leading ~ replaced; 1 when a variable has no value.
# LOOKUP is the function that sets `value` to the value of the variable named $1, instead of value_of.
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
    case ${variable} in '' | [0-9]* | *[!A-Za-z0-9_]*) return 1 ;; *) "${2:-value_of}" "${variable}" ;; esac
    [ -n "${value}" ] || return 1
    expanded=${expanded}${value}
  done
  value=${expanded}${rest}
}

# Writes the lease into a folder: whose it is and until when, so that `glidepost puller cleanup` can tell what a kill
# without warning has left from what is in use. `start` is in clock ticks since the boot; in a container the PID means
# something in its own namespace only.
write_lease() {
  boot=unknown
  { read -r boot </proc/sys/kernel/random/boot_id && read -r stat <"/proc/$$/stat"; } || return
  # The second field is the command's name in brackets, which may hold anything; fields 3 and 22 follow.
  # shellcheck disable=SC2086  # to be split
  set -- "$1" ${stat##*) }
  printf '%s\n' kind=lease/1 "glidein=${glidein}" "name=${GLIDEPOST_NAME}" "batch_job=${batch_job}" "host=${host}" \
    "boot=${boot}" "pid_namespace=$(readlink "/proc/$$/ns/pid")" "pid=$$" "start=${21}" \
    "deadline=$((started + walltime_s))" >"$1/.lease"
}

# Makes the private scratch folder in the first of the folders given; 1 when none will have it. It gets its name once
# its lease is written: no folder has that name without one. (The other name is as hard to guess, and does not tell this
# one, so that on a shared /tmp nobody can be there first.)
make_scratch_in() {
  for folder in "$@"; do
    case ${folder} in /*) ;; *) continue ;; esac
    new=${folder%/}/.glidepost-${random#*-}
    mkdir -- "${new}" 2>/dev/null || continue
    scratch=${folder%/}/glidepost-${glidein}
    write_lease "${new}" 2>/dev/null && mv -- "${new}" "${scratch}" 2>/dev/null && return 0
    scratch=''
    rm -rf -- "${new}"
  done
  return 1
}

make_scratch() {
  if [ -n "${GLIDEPOST_SCRATCH:-}" ]; then
    expand "${GLIDEPOST_SCRATCH}" || finish no-scratch "a variable of ${GLIDEPOST_SCRATCH} is not set on this node"
    # (as the site wrote it, it may be of this batch job or user, and not there yet)
    mkdir -p -- "${value}" 2>/dev/null || :
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
  # A batch system that copies files to the node has put it into the folder that it starts batch jobs in.
  copy=${batch_folder%/}/${GLIDEPOST_TOKEN_FILE##*/}
  expand "${GLIDEPOST_TOKEN_FILE}" || value=''
  if [ ! -r "${value}" ] && [ -f "${copy}" ] && [ -r "${copy}" ]; then value=${copy}; fi
  [ -n "${value}" ] || finish token-unreadable "a variable of ${GLIDEPOST_TOKEN_FILE} is not set on this node"
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

