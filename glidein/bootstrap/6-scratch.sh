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

