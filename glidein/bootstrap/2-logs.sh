# --- logs

LOGS_S=20      # the longest that it may take to put the logs where the site wants them
MAX_LOGS=200   # files: a user job may write into that folder too
loops='' logs_file='' log_form=''

# every SECONDS FUNCTION: calls a function again and again in the background, until end_loops, or until this shell is
# gone. The sleep carries the scratch folder's name, so that what collects a dead glidein finds it.
every() {
  (
    running=''
    trap 'kill ${running} 2>/dev/null; exit 0' TERM
    while :; do
      GLIDEPOST_LOOP="${scratch}/" sleep "$1" &
      running=$!
      wait "${running}" && kill -0 "$$" 2>/dev/null || exit 0
      "$2"
    done
  ) >/dev/null 2>&1 &
  loops="${loops} $!"
}

end_loops() {
  for loop in ${loops}; do kill -s TERM "${loop}" 2>/dev/null; done
  for loop in ${loops}; do wait "${loop}"; done
  loops=''
}

# briefly SECONDS COMMAND...: for what may hang. In a loop, end_loops ends it.
briefly() {
  GLIDEPOST_LOOP="${scratch}/" timeout -s KILL "$@" &
  running=$!
  wait "${running}"
}

# A ClassAd string for condor_config.
# shellcheck disable=SC2016  # for HTCondor, not for the shell
literal() { json "$1" | sed 's/\$/$(DOLLAR)/g'; }

# Adds to the ads of the slots where the logs will be. The file has the glidein's name, which is in a user job's
# LastRemoteHost too, so `condor_history` leads to it.
plan_logs() {
  : "${GLIDEPOST_LOGS:=never}" "${GLIDEPOST_LOGS_EVERY_S:=0}" "${GLIDEPOST_LOGS_MAX_MIB:=8}"
  case ${GLIDEPOST_LOGS} in
    never | failed | always) ;;
    *) bad "GLIDEPOST_LOGS is not never, failed or always: '${GLIDEPOST_LOGS}'" ;;
  esac
  check_number GLIDEPOST_LOGS_EVERY_S 0
  check_number GLIDEPOST_LOGS_MAX_MIB 1
  for variable in LOGS_FOLDER LOG_FORM; do check_folder "GLIDEPOST_${variable}"; done
  [ -z "${problem}" ] || finish bad-request "${problem}"
  [ "${GLIDEPOST_LOGS}:${GLIDEPOST_LOGS_EVERY_S}" != never:0 ] || return 0
  expand "${GLIDEPOST_LOGS_FOLDER:-}" || value=''
  if [ -n "${value}" ]; then
    logs_file=${value%/}/${glidein}.tar.gz
    advertise GLIDEPOST_Logs "$(literal "${logs_file}")"
  fi
  expand "${GLIDEPOST_LOG_FORM:-}" || value=''
  log_form=${value}
  # As the token: a batch system that copies files to the node has put it where it starts batch jobs.
  copy=${batch_folder%/}/${log_form##*/}
  if [ -n "${log_form}" ] && [ ! -r "${log_form}" ] && [ -f "${copy}" ]; then log_form=${copy}; fi
  if read_form && [ -n "${form_get}" ]; then
    advertise GLIDEPOST_LogsUrl "$(literal "${form_get}")"
    advertise PRESIGNED_GET_URL "$(literal "${form_get}")"
  fi
}

# Keeps one file of the logs up to date while HTCondor runs.
keep_logs_current() {
  [ -n "${logs_file}${log_form}" ] && [ "${GLIDEPOST_LOGS_EVERY_S}" != 0 ] || return 0
  every "${GLIDEPOST_LOGS_EVERY_S}" ship_logs
}

# Keeps HTCondor's logs, where the site wants them. $1 is the outcome, $2 the exit code.
keep_logs() {
  [ -n "${logs_file}${log_form}" ] || return 0
  case ${GLIDEPOST_LOGS}:$2 in
    always:* | failed:[1-9]*) ;;
    *)
      [ "${GLIDEPOST_LOGS_EVERY_S}" = 0 ] || [ -z "${logs_file}" ] ||
        briefly "${LOGS_S}" rm -f -- "${logs_file}" "${logs_file}.part"
      return 0
      ;;
  esac
  end_leftovers
  # Where the disk is full, there would be no room for the logs either.
  rm -rf -- "${scratch}/glidein" "${scratch}/tarball"
  ship_logs && return 0
  say "the logs of this glidein (it ended with $1) are not kept: $(tail -n 1 "${scratch}/logs.err" 2>/dev/null)"
}

# Puts the logs as they are now where the site and the pool want them.
ship_logs() {
  cd -- "${scratch}" || return 1
  : 2>/dev/null >logs.err
  pack_logs 2>>logs.err || return 0
  shipped=0
  if [ -n "${logs_file}" ]; then
    # shellcheck disable=SC2016  # expanded there
    briefly "${LOGS_S}" sh -c 'mkdir -p -- "${2%/*}" && cp -- "$1" "$2.part" && mv -f -- "$2.part" "$2"' \
      sh logs.tar.gz "${logs_file}" 2>>logs.err || shipped=1
  fi
  upload_logs 2>>logs.err || shipped=1
  rm -f logs.tar.gz
  return "${shipped}"
}

# Leaves logs.tar.gz, of at most GLIDEPOST_LOGS_MAX_MIB unpacked: of files that are too long the beginning goes. 1 when
# there is nothing to pack. A file that is none (a user job may make links there), or that holds the token, stays out.
pack_logs() {
  rm -rf kept
  mkdir -p "kept/${glidein}" || return 1
  set --
  for log in log/* checks/*.out checks/*.err; do
    { [ -f "${log}" ] && [ ! -h "${log}" ] && [ -s "${log}" ] && [ "$#" -lt "${MAX_LOGS}" ]; } || continue
    ! { [ -s tokens.d/pool ] && grep -qF -f tokens.d/pool -- "${log}"; } || continue
    set -- "$@" "${log}"
  done
  [ "$#" -gt 0 ] || return 1
  sizes=$(stat -c %s -- "$@")
  share_sizes "$#"
  for size in ${sizes}; do
    [ "${size}" -le "${share}" ] || size=${share}
    tail -c "${size}" -- "$1" >"kept/${glidein}/${1##*/}"
    shift
  done
  tar -czf logs.tar.gz -C kept "${glidein}" && rm -rf kept
}

# share_sizes COUNT: sets `share` to how much of each file there may be, so that all of `sizes` are within the limit.
share_sizes() {
  room=$((GLIDEPOST_LOGS_MAX_MIB * 1048576)) large=0
  share=$((room / $1))
  for size in ${sizes}; do
    if [ "${size}" -le "${share}" ]; then room=$((room - size)); else large=$((large + 1)); fi
  done
  [ "${large}" = 0 ] || share=$((room / large))
}

# Sets `form` to curl's options, `form_url` and `form_get`, from the file of lines NAME=VALUE that GLIDEPOST_LOG_FORM
# names: `url` is where to post it, `get` where it can be read then, all others are fields of the form. In all of them
# ${filename} stands for the name of the file. 1 when there is no such form, or nothing to send it with.
read_form() {
  form='' form_url='' form_get=''
  { [ -n "${log_form}" ] && [ -f "${log_form}" ] && [ -r "${log_form}" ]; } || return 1
  command -v curl >/dev/null || return 1
  while IFS= read -r line || [ -n "${line}" ]; do
    case ${line} in *[!\ -~]*) return 1 ;; *=*) ;; *) continue ;; esac
    text=${line#*=}
    # shellcheck disable=SC2016  # the form's word, not a variable
    case ${text} in *'${filename}'*) text=${text%%'${filename}'*}${glidein}.tar.gz${text#*'${filename}'} ;; *) ;; esac
    case ${line%%=*} in
      url) form_url=${text} ;;
      get) form_get=${text} ;;
      *)
        text=$(printf %s "${line%%=*}=${text}" | sed 's/["\\]/\\&/g')
        form="${form}form-string = \"${text}\"${NEWLINE}"
        ;;
    esac
  done <"${log_form}"
  case ${form_get} in http://?* | https://?*) ;; *) form_get='' ;; esac
  case ${form_url} in *[\"\\\ ]*) return 1 ;; http://?* | https://?*) ;; *) return 1 ;; esac
}

# Sends logs.tar.gz with the form, which is read anew each time. It is a secret: no command line holds it, and what curl
# reads lies where user jobs cannot look.
upload_logs() {
  read_form || return 0
  printf '%s\n' "url = \"${form_url}\"" "${form}form = \"file=@logs.tar.gz;type=application/gzip\"" >keys.d/form.conf
  briefly "${LOGS_S}" curl -q -fsS --connect-timeout 10 -o /dev/null --config keys.d/form.conf
  uploaded=$?
  rm -f keys.d/form.conf
  return "${uploaded}"
}
