#!/bin/sh
# pool.sh POOL init|start|stop|env|token NAME [OPTION...]  -- an HTCondor pool without execution point, in the folder POOL.
#
#   init    writes POOL/condor_config, a signing key and POOL/env.sh; keeps the port and the key that it finds there
#           CONDOR  HTCondor's prefix (BIN, SBIN, LIB, LIBEXEC where an installed one has them elsewhere)
#           HOST    address to listen on (127.0.0.1)     PORT    the one port (default: the first free one)
#           DOMAIN  trust domain (pool.test)
#   start   returns when the schedd has reported to the collector
#   token   prints an IDTOKEN for NAME@DOMAIN, made by condor_token_create with the OPTIONs
#   env     prints what a shell needs to use the pool: eval "$(pool.sh POOL env)"
# The daemons run as the user who calls this, who must not be root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=infra/demo/daemons.sh
. "$here/daemons.sh"

[ $# -ge 2 ] || { sed -n '2,12p' "$0" >&2; exit 2; }
mkdir -p "$1"
POOL=$(cd "$1" && pwd -P)
command=$2
shift 2

enter() {
    # shellcheck disable=SC1091
    . "$POOL/env.sh"
}

init() {
    umask 022
    : "${CONDOR:?the prefix of HTCondor}"
    mkdir -p "$POOL/log" "$POOL/spool" "$POOL/execute" "$POOL/lock" "$POOL/run" "$POOL/config.d" "$POOL/tokens.d" \
        "$POOL/passwords.d"
    chmod 700 "$POOL/tokens.d" "$POOL/passwords.d"
    DOMAIN=${DOMAIN:-pool.test}
    HOST=${HOST:-127.0.0.1}
    BIN=${BIN:-$CONDOR/bin}
    SBIN=${SBIN:-$CONDOR/sbin}
    port=${PORT:-$(cat "$POOL/port" 2>/dev/null || free_port $((11000 + $$ % 8000)))}
    echo "$port" >"$POOL/port"
    sed -e "s|@RELEASE@|$CONDOR|; s|@BIN@|$BIN|; s|@SBIN@|$SBIN|; s|@LIB@|${LIB:-$CONDOR/lib}|" \
        -e "s|@LIBEXEC@|${LIBEXEC:-$CONDOR/libexec}|; s|@POOL@|$POOL|; s|@HOST@|$HOST|; s|@PORT@|$port|; s|@DOMAIN@|$DOMAIN|" \
        "$here/pool.conf" >"$POOL/condor_config"
    if [ ! -s "$POOL/passwords.d/POOL" ]; then
        (umask 077 && head -c 48 /dev/urandom | base64 -w 0 >"$POOL/passwords.d/POOL")
    fi
    # FS: a client that can read the signing key would otherwise make itself a token and be condor@, not its user.
    cat >"$POOL/env.sh" <<END
export CONDOR_CONFIG='$POOL/condor_config' PATH="$BIN:$SBIN:\$PATH" _CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=FS
END
}

start() {
    enter
    [ -z "$(daemons_of "$POOL")" ] || return 0
    port=$(cat "$POOL/port")
    if [ "$(free_port "$port")" != "$port" ]; then
        echo "pool.sh: port $port is taken by somebody else: rm $POOL/port, and init again" >&2
        return 1
    fi
    rm -f "$POOL"/log/*Log "$POOL/run/master.pid"
    # The way of clients is not the daemons' way.
    (unset _CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS &&
        quietly_apart env "$MARK=$POOL" condor_master -pidfile "$POOL/run/master.pid" >"$POOL/log/console" 2>&1)
    tries=600
    until [ -n "$(condor_status -schedd -af Name 2>/dev/null)" ]; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ] || [ -z "$(daemons_of "$POOL")" ]; then
            echo "pool.sh: the pool did not come up: see $POOL/log" >&2
            stop
            return 1
        fi
        sleep 0.1
    done
}

stop() {
    # QUIT is HTCondor's fast shutdown: the master ends its children, then itself.
    master=$(cat "$POOL/run/master.pid" 2>/dev/null || :)
    if is_daemon_of "$POOL" "$master"; then
        kill -s QUIT "$master" && wait_gone "$POOL" 150 && return 0
    fi
    end_daemons "$POOL" || { echo "pool.sh: could not end: $(daemons_of "$POOL" | tr '\n' ' ')" >&2; return 1; }
}

token() {
    enter
    name=$1
    shift
    condor_token_create -identity "$name@$(condor_config_val TRUST_DOMAIN)" -key POOL "$@"
}

case $command in
    init | start | stop) "$command" ;;
    token) token "${@:?token NAME}" ;;
    env) cat "$POOL/env.sh" ;;
    *) sed -n '2,12p' "$0" >&2; exit 2 ;;
esac
