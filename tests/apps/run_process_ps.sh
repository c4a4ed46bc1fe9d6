#!/bin/sh
# run_process_ps.sh start|stop NAME [COMMAND...] - the start script as hosting tutorials have it: it finds the server by
# grepping ps for NAME, a part of the virtual environment's path.

# shellcheck disable=SC2009 # grepping ps is the point

action=$1
NAME=$2
shift 2

lines() {
    ps -ef | grep "$NAME" | grep -v grep | grep -v run_process
}

case $action in
start)
    if [ "$(lines | wc -l)" -eq 0 ]; then
        "$@" &
        echo "Starting server"
    else
        echo "Server is already running with pid=$(lines | awk '$3 == 1 { print $2 }')"
    fi
    ;;
stop)
    pid=$(lines | awk '$3 == 1 { print $2 }')
    if [ -n "$pid" ]; then
        echo "Stopping server with pid=$pid"
        kill "$pid"
    else
        echo "Server is not running"
    fi
    ;;
esac
