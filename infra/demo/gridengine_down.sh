#!/bin/sh
# gridengine_down.sh DIR  -- end the cell that gridengine_up.sh started in DIR, its jobs included. Nothing to end is no error.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=infra/demo/daemons.sh
. "$here/daemons.sh"

[ $# -eq 1 ] || { sed -n '2p' "$0" >&2; exit 2; }
dir=$(cd "$1" 2>/dev/null && pwd -P) || exit 0
[ -n "$(daemons_of "$dir")" ] || [ -f "$dir/short" ] || exit 0

# Nothing of the cell is wanted any more, and batch jobs have its mark as well: there is no need to ask the qmaster, which
# takes ten seconds to end by itself.
for pid in $(daemons_of "$dir"); do
    case $(cat "/proc/$pid/comm" 2>/dev/null) in sge_qmaster | sge_execd | sge_shepherd) kill -s KILL "$pid" 2>/dev/null ;; esac
done
end_daemons "$dir"
status=$?
if [ -f "$dir/short" ]; then
    short=$(cat "$dir/short")
    rm -f "$short/d" "$dir/short"
    rmdir "$short" 2>/dev/null
fi
[ "$status" = 0 ] || echo "gridengine_down: could not end: $(daemons_of "$dir" | tr '\n' ' ')" >&2
exit "$status"
