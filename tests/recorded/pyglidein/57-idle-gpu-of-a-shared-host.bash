#!/bin/bash
# of the GPUs of this host, the one with the most free memory
export CUDA_VISIBLE_DEVICES=$(nvidia-smi --query-gpu=index,memory.free --format=csv,noheader,nounits | sort -t, -k2 -n | tail -1 | cut -d, -f1)
export GPUS=CUDA0
export CPUS=4
export MEMORY=16000
export ACCEPT_JOBS_FOR_HOURS=12
export GLIDEIN_Site="Sharehouse"
cd /scratch/prod
while true; do
    ./glidein_start.sh
    sleep 60
done
