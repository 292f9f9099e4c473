#!/bin/sh
# slurm_down.sh DIR  -- end the Slurm that slurm_up.sh started in DIR, its jobs included. Nothing to end is no error.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=infra/demo/daemons.sh
. "$here/daemons.sh"

[ $# -eq 1 ] || { sed -n '2p' "$0" >&2; exit 2; }
real=$(cd "$1" 2>/dev/null && pwd -P) || exit 0
[ -n "$(daemons_of "$real")" ] || exit 0

if [ -f "$real/env.sh" ]; then
    # shellcheck disable=SC1091
    . "$real/env.sh"
    jobs=$(timeout 5 squeue -h -r -o %A 2>/dev/null | sort -u)
    if [ -n "$jobs" ]; then
        # shellcheck disable=SC2086
        timeout 10 scancel $jobs 2>/dev/null
        tries=50
        while [ "$tries" -gt 0 ] && [ -n "$(timeout 5 squeue -h -o %A 2>/dev/null)" ]; do
            tries=$((tries - 1))
            sleep 0.2
        done
    fi
fi

# A job that a cancel did not reach hangs below a slurmstepd, with an environment of its own.
descendants() {
    # shellcheck disable=SC2013
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
        (descendants "$child") # (variables of a function are everybody's)
        echo "$child"
    done
}
left=
for pid in $(daemons_of "$real"); do
    case $(cat "/proc/$pid/comm" 2>/dev/null) in slurmstepd*) left="$left $(descendants "$pid")" ;; esac
done
for pid in $left; do kill -s KILL "$pid" 2>/dev/null; done

end_daemons "$real"
status=$?
if [ -f "$real/short" ]; then
    short=$(cat "$real/short")
    rm -f "$short/d"
    rmdir "$short" 2>/dev/null
fi
[ "$status" = 0 ] || echo "slurm_down: could not end: $(daemons_of "$real" | tr '\n' ' ')" >&2
exit "$status"
