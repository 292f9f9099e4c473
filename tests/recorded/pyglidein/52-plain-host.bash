#!/bin/bash
export MEMORY=250000
export ACCEPT_JOBS_FOR_HOURS=240
export ACCEPT_IDLE_MINUTES=200
export CPUS=128
export DISK=819200000
export GPUS=0
export GLIDEIN_Site="Plainfield"
WORK_DIR=/home/prod/pilot/
cd $WORK_DIR
export TOKEN=eyJhbGciOiJub25lIn0.eyJzdWIiOiJub2JvZHkifQ.bm90LWEtdG9rZW4
until ./glidein_start.sh; do
    echo "ended with $?, again" >&2
    sleep 1
done
