#!/bin/sh
# run_process.sh start|stop|restart|status - the server of this folder. Safe from cron at any time: starting what runs
# does nothing, stopping waits until it has ended.

APP=hello:app
BIND=0.0.0.0:8080
WORKERS=3
# A certificate (chain) and its key. Left empty: the newest certificate in ~/ssl/certs, where cPanel puts them, and the
# key in ~/ssl/keys that belongs to it.
CERT=${CERT:-}
KEY=${KEY:-}

# cron gives no folder of ours and hardly a PATH: everything goes by the place of this script.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cwsgi=$here/venv/bin/cwsgi
pidfile=$here/logs/cwsgi.pid
log=$here/logs/server.log

# Sets pid, and succeeds if that process is our server, not another one that was given the same number.
running() {
    pid=$(cat "$pidfile" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null &&
        tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$cwsgi"
}

newest_certificate() {
    # shellcheck disable=SC2012 # names of certificates are plain
    ls -t "$HOME"/ssl/certs/*.crt 2>/dev/null | head -n 1
}

# The names differ from host to host, so we compare what is inside.
key_of() {
    public=$(openssl x509 -in "$1" -pubkey -noout 2>/dev/null) || return 1
    for key in "$HOME"/ssl/keys/*.key; do
        if [ "$(openssl pkey -in "$key" -pubout 2>/dev/null)" = "$public" ]; then
            echo "$key"
            return 0
        fi
    done
}

start() {
    if running; then
        echo "cwsgi is running with pid $pid"
        return 0
    fi
    [ -n "$CERT" ] || CERT=$(newest_certificate)
    [ -n "$KEY" ] || [ -z "$CERT" ] || KEY=$(key_of "$CERT")
    if [ ! -f "$CERT" ] || [ ! -f "$KEY" ]; then
        echo "No certificate with its key in $HOME/ssl: set CERT and KEY at the top of $0" >&2
        return 1
    fi
    mkdir -p "$here/logs" && cd "$here" || return 1
    nohup "$cwsgi" -w "$WORKERS" -b "$BIND" --certfile "$CERT" --keyfile "$KEY" --pid "$pidfile" \
        --access-logfile logs/access.log --log-file "$log" "$APP" >>logs/output.log 2>&1 </dev/null &
    started=$!
    good=0
    while kill -0 "$started" 2>/dev/null; do
        running && good=$((good + 1))
        if [ $good = 10 ]; then # it lives for a second: the application could be loaded
            echo "cwsgi started with pid $pid"
            return 0
        fi
        sleep 0.1
    done
    wait "$started"
    status=$?
    echo "cwsgi did not start (exit status $status); its last words:" >&2
    tail -q -n 20 logs/output.log "$log" >&2
    return 1
}

stop() {
    if ! running; then
        echo "cwsgi is not running"
        return 0
    fi
    kill "$pid"
    tries=400 # 40 seconds: it gives requests that still run 30 to finish
    while kill -0 "$pid" 2>/dev/null; do # by the number alone: while it ends its title is another
        tries=$((tries - 1))
        if [ $tries = 0 ]; then
            echo "cwsgi with pid $pid does not end" >&2
            return 1
        fi
        sleep 0.1
    done
    echo "cwsgi stopped"
}

status() {
    if running; then
        echo "cwsgi is running with pid $pid"
    else
        echo "cwsgi is not running"
        return 3
    fi
}

case $1 in
start | stop | status) "$1" ;;
restart) stop && start ;;
*)
    echo "usage: $0 start|stop|restart|status" >&2
    exit 2
    ;;
esac
