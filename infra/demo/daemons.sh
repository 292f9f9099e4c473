# shellcheck shell=sh
# Sourced by pool.sh, slurm_up.sh and slurm_down.sh: which daemons are ours, and how to end them.
#
# A daemon of the testbed is known by a mark in its environment, GLIDEPOST_DAEMON_OF=<its folder>, which its children
# inherit. Unlike a number in a pid file, a mark is never passed on to a stranger's process, and a zombie has none: so
# "still alive" and "really ours" are one question, also where PID 1 reaps nothing.

MARK=GLIDEPOST_DAEMON_OF

# daemons_of FOLDER: the process ids that carry the folder's mark, one a line.
daemons_of() {
    grep -lzxF "$MARK=$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
}

# is_daemon_of FOLDER PID: is this very process alive and ours?
is_daemon_of() {
    [ -n "${2:-}" ] && grep -qzxF "$MARK=$1" "/proc/$2/environ" 2>/dev/null
}

# wait_gone FOLDER TENTHS: 0 as soon as no process carries the mark, 1 if some still do after so many tenths of a second.
wait_gone() {
    gone_left=$2
    while [ -n "$(daemons_of "$1")" ]; do
        [ "$gone_left" -gt 0 ] || return 1
        gone_left=$((gone_left - 1))
        sleep 0.1
    done
}

# end_daemons FOLDER: TERM, five seconds, then KILL for everything that carries the mark.
end_daemons() {
    for end_signal in TERM KILL; do
        for end_pid in $(daemons_of "$1"); do
            kill -s "$end_signal" "$end_pid" 2>/dev/null
        done
        wait_gone "$1" 50 && return 0
    done
    return 1
}

# free_port START: the first TCP port from START on that nobody on this machine listens at (state 0A).
free_port() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$1" '
        $4 == "0A" { split($2, address, ":"); taken[address[2]] = 1 }
        END { while (sprintf("%04X", port) in taken) port++; print port }'
}

# quietly_apart COMMAND...: without our terminal, in a session of its own where there is setsid.
quietly_apart() {
    if command -v setsid >/dev/null; then setsid "$@" </dev/null; else "$@" </dev/null; fi
}
