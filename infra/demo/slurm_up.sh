#!/bin/sh
# slurm_up.sh DIR  -- a private Slurm of two nodes on this host, wholly as the user who calls it. No root, no systemd.
#
#   SLURM  prefix made by get_slurm.sh (default: an installed Slurm, found on the PATH)
#   PORT   the first of three ports (default: the first free ones)
#   then   . DIR/env.sh    sets SLURM_CONF, MUNGE_SOCKET and PATH
#
# Keys, sockets, logs and state lie below DIR; no file of the system is read or written. slurmctld and slurmd cannot be
# told to listen on the loopback only, unless the host's name resolves to it: then they are. Munge's key keeps others out.
# Memory and devices are not enforced (that wants cgroups, so root). Jobs run as the calling user.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=infra/demo/daemons.sh
. "$here/daemons.sh"

[ $# -eq 1 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
mkdir -p "$1"
real=$(cd "$1" && pwd -P)
SLURM=${SLURM:-}
[ -z "$SLURM" ] || PATH=$SLURM/bin:$SLURM/sbin:$PATH
PATH=$PATH:/usr/sbin:/sbin
export PATH

for program in munged slurmctld slurmd slurmstepd sinfo; do
    command -v "$program" >/dev/null || { echo "slurm_up: no $program on the PATH: get_slurm.sh makes a prefix" >&2; exit 1; }
done
if [ -n "$(daemons_of "$real")" ]; then
    echo "slurm_up: already running in $real: slurm_down.sh $real" >&2
    exit 1
fi
rm -rf "$real/log" "$real/state" "$real/munge" "$real/spool-sn0" "$real/spool-sn1"

# A Unix socket's path may have 107 bytes, of which Slurm and munge need 45: a deep folder gets a short name in /tmp.
dir=$real
if [ ${#real} -gt 60 ]; then
    short=$(mktemp -d /tmp/gpslurm.XXXXXX)
    chmod 755 "$short"
    ln -s "$real" "$short/d"
    echo "$short" >"$real/short"
    dir=$short/d
fi

umask 022
mkdir "$dir/log" "$dir/state" "$dir/munge" "$dir/spool-sn0" "$dir/spool-sn1"
user=$(id -un 2>/dev/null || id -u)
first=${PORT:-$(free_port $((20000 + $$ % 8000)))}
second=$(free_port $((first + 1)))
third=$(free_port $((second + 1)))
cat >"$dir/env.sh" <<END
export SLURM_CONF='$dir/slurm.conf' MUNGE_SOCKET='$dir/munge/socket'
${SLURM:+export PATH=\"$SLURM/bin:$SLURM/sbin:\$PATH\"}
END

# Daemons bind to any address, or to the one that the host's name resolves to: the narrower choice, where that is a
# loopback address; where it is not, the daemons would not be found at 127.0.0.1.
case $(getent ahostsv4 "$(uname -n)" | awk 'NR == 1 { print $1 }') in
    127.0.0.1) binding=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny ;;
    *) binding= ;;
esac
sed -e "s|@DIR@|$dir|g; s|@USER@|$user|g; s|@BINDING@|$binding|g; s|@PLUGINS@|${SLURM:+PluginDir=$SLURM/lib/slurm-wlm}|g" \
    -e "s|@PORT@|$first|g; s|@PORT0@|$second|g; s|@PORT1@|$third|g" "$here/slurm.conf" >"$dir/slurm.conf"
# slurmd wants to know the kind of control groups even if it uses none, and would look for them where a container has none.
echo CgroupPlugin=cgroup/v1 >"$dir/cgroup.conf"
# Two fake GPUs: Slurm wants existing device files, one line each, and looks no further.
printf 'NodeName=sn0 Name=gpu File=%s\n' /dev/null /dev/zero >"$dir/gres.conf"

SLURM_CONF=$dir/slurm.conf
export SLURM_CONF
unset SLURM_TIME_FORMAT
start() { quietly_apart env "$MARK=$real" "$@" >>"$dir/log/console" 2>&1; }
give_up() { echo "slurm_up: $1; logs are in $real/log" >&2; "$here/slurm_down.sh" "$real" || :; exit 1; }

(umask 077 && head -c 128 /dev/urandom >"$dir/munge/key")
# --force: a folder above that a group may write to (a umask of 002) is no reason not to start a testbed.
start munged --force --key-file="$dir/munge/key" --seed-file="$dir/munge/seed" --log-file="$dir/log/munged.log" \
    --pid-file="$dir/munge/pid" --socket="$dir/munge/socket" || give_up "munged did not start"
start slurmctld -i || give_up "slurmctld did not start"
for node in sn0 sn1; do
    start slurmd -N "$node" -d "$(command -v slurmstepd)" || give_up "slurmd $node did not start"
done

tries=600
until [ "$(timeout 5 sinfo -h -p main -o '%T %D' 2>/dev/null)" = "idle 2" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || give_up "the nodes did not come up in 60 s"
    sleep 0.1
done
