#!/bin/sh
# gridengine_up.sh DIR  -- a private Grid Engine cell of this host, wholly as the user who calls it. No root, no systemd.
#
#   GRIDENGINE  prefix made by get_gridengine.sh
#   PORT        the first of two ports (default: the first free ones)
#   then        . DIR/env.sh    sets SGE_ROOT, SGE_CELL, both ports and PATH
#
# Queues main.q (1 h, 8 slots), and closed.q, which is disabled; parallel environment smp; project physics; resources gpu
# (2), h_vmem (16G, counted for each slot, 1G by default) and tmpfree (20G). Logs and state lie below DIR; no file of the
# system is read or written. The qmaster cannot be told to listen on the loopback only; it takes commands from this host
# only. Jobs run as the calling user; memory is a ulimit.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=infra/demo/daemons.sh
. "$here/daemons.sh"

[ $# -eq 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
[ -x "${GRIDENGINE:-}/bin/sge_qmaster" ] || { echo "gridengine_up: set GRIDENGINE: get_gridengine.sh makes a prefix" >&2; exit 1; }
mkdir -p "$1"
real=$(cd "$1" && pwd -P)
if [ -n "$(daemons_of "$real")" ]; then
    echo "gridengine_up: already running in $real: gridengine_down.sh $real" >&2
    exit 1
fi
getent hosts "$(uname -n)" >/dev/null || { echo "gridengine_up: the host's own name, $(uname -n), does not resolve: add it to /etc/hosts" >&2; exit 1; }
umask 022
# Grid Engine knows no quotes: a folder with blanks in its name gets another name in /tmp.
dir=$real
case $real in
    *[[:space:]]*)
        short=$(mktemp -d /tmp/gpgridengine.XXXXXX)
        chmod 755 "$short"
        ln -s "$real" "$short/d"
        echo "$short" >"$real/short"
        dir=$short/d
        ;;
esac
for part in conf default spool execd tmp log bin utilbin lib; do
    rm -rf "${dir:?}/$part"
    mkdir "$dir/$part"
done
mkdir "$dir/default/common"
for part in bin utilbin lib; do ln -s "$GRIDENGINE/bin" "$dir/$part/lx-amd64"; done
bin=$dir/bin/lx-amd64

first=${PORT:-$(free_port $((29000 + $$ % 8000)))}
second=$(free_port $((first + 1)))
cat >"$dir/env.sh" <<END
export SGE_ROOT='$dir' SGE_CELL=default SGE_ARCH=lx-amd64 SGE_QMASTER_PORT=$first SGE_EXECD_PORT=$second
export PATH="$GRIDENGINE/bin:\$PATH"
END
# The environment of the daemons is that of the batch jobs, too.
bare() {
    quietly_apart env -i "$MARK=$real" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin SGE_ROOT="$dir" SGE_CELL=default \
        SGE_ARCH=lx-amd64 SGE_QMASTER_PORT="$first" SGE_EXECD_PORT="$second" "$@" >>"$dir/log/console" 2>&1
}
give_up() {
    echo "gridengine_up: $1; logs are in $real/log, $real/spool and $real/execd" >&2
    "$here/gridengine_down.sh" "$real" || :
    exit 1
}
# soon TENTHS COMMAND...: until the command succeeds
soon() {
    left=$1
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.1
    done
}

sed -e "s|@DIR@|$dir|g; s|@BIN@|$bin|g; s|@USER@|$(id -un)|g" "$here/gridengine.conf" |
    awk -v dir="$dir/conf" '/^#/ { next } /^--- / { file = dir "/" $2; next } { print >file }'
for queue in main closed; do
    case $queue in closed) state=disabled ;; *) state=default ;; esac
    sed -e "s|@QUEUE@|$queue.q|; s|@STATE@|$state|" "$dir/conf/queue" >"$dir/conf/$queue.q"
done
common=$dir/default/common
cp "$dir/conf/bootstrap" "$common/bootstrap"
# Whatever this host is called and its name resolves to, Grid Engine calls it localhost.
echo localhost >"$common/act_qmaster"
names=$({ uname -n; getent hosts "$(uname -n)" | tr -s ' \t' '\n' | sed 1d; } | sort -u | grep -vx localhost | tr '\n' ' ') || names=
echo "localhost $names" >"$common/host_aliases"

bare "$bin/spoolinit" classic libspoolc "$common;$dir/spool" init || give_up "the cell could not be made"
has() { bare "$bin/spooldefaults" "$@" || give_up "the cell could not be made"; }
has configuration "$dir/conf/global"
has complexes "$GRIDENGINE/share/centry"
has usersets "$GRIDENGINE/share/usersets"
has managers "$(id -un)"
bare "$bin/sge_qmaster" || give_up "sge_qmaster did not start"
# shellcheck disable=SC1091
. "$dir/env.sh"
soon 600 qconf -sconf global || give_up "sge_qmaster does not answer"

# What is there stays, but for what stands in the file.
{ qconf -sc | grep -v -e '^#' -e '^h_vmem '; cat "$dir/conf/complexes"; } >"$dir/conf/all-complexes"
qconf -ssconf | sed -E 's/^(schedule_interval) .*/\1 0:0:1/; s/^(flush_(submit|finish)_sec) .*/\1 1/' >"$dir/conf/scheduler"
configure() { qconf "$@" >>"$dir/log/qconf" 2>&1 || give_up "qconf $1 failed: see $dir/log/qconf"; }
configure -Mc "$dir/conf/all-complexes"
configure -Msconf "$dir/conf/scheduler"
configure -as localhost
configure -Ae "$dir/conf/host"
configure -Aprj "$dir/conf/project"
configure -Ap "$dir/conf/pe"
configure -Aq "$dir/conf/main.q"
configure -Aq "$dir/conf/closed.q"

bare "$bin/sge_execd" || give_up "sge_execd did not start"
is_up() { qstat -f -q main.q | awk '$1 == "main.q@localhost" && NF == 5 { up = 1 } END { exit !up }'; }
soon 600 is_up || give_up "the queue did not come up in 60 s"
