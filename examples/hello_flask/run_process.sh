#!/bin/sh
# run_process.sh start|stop|restart|status - the server of this folder. Safe from cron at any time: starting what runs
# does nothing, stopping waits until it has ended.

APP=hello:app
BIND=0.0.0.0:8080
WORKERS=3
# A folder with certificates and keys, as cPanel makes it; cwsgi takes the newest that belong together. Or one file with
# a certificate, and in KEY the one with its key.
CERT=${CERT:-$HOME/ssl}
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

start() {
    if running; then
        echo "cwsgi is running with pid $pid"
        return 0
    fi
    mkdir -p "$here/logs" && cd "$here" || return 1
    nohup "$cwsgi" -w "$WORKERS" -b "$BIND" --certfile "$CERT" ${KEY:+--keyfile "$KEY"} \
        --pid "$pidfile" --access-logfile logs/access.log --log-file "$log" "$APP" >>logs/output.log 2>&1 </dev/null &
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
