#!/bin/sh
# A glidein: joins an HTCondor pool from inside one batch job, runs user jobs, leaves, and leaves nothing behind.
#
# The parts in this folder, one after the other, are one text (site_puller/script.py joins them). It stands after a
# header of GLIDEPOST_* assignments in one batch script, which may also come from standard input. So it reads no file of its own, does not look at $0, and does not exec: the shell stays as the parent that
# turns the batch system's kill into a fast end of HTCondor and always removes the scratch folder.
#
# Needs: POSIX sh (dash, bash, busybox ash), coreutils, grep, sed, tar, gzip; curl, wget or python3 to download.
#
# Request (all are required unless it says "may be empty"):
#   GLIDEPOST_NAME SITE GLIDEIN_SITE SHAPE POOL     who it is, advertised in its ClassAds
#   GLIDEPOST_COLLECTORS                            "host:port host:port"
#   GLIDEPOST_CPUS MEMORY_MIB DISK_MIB GPUS         what it offers
#   GLIDEPOST_WALLTIME_S RETIRE_S IDLE_S UPDATE_S   batch limit; its last seconds without new user jobs; how long to
#                                                   stay unclaimed; seconds between updates to the collector
#   GLIDEPOST_TOKEN_FILE                            the pool token
#   GLIDEPOST_TARBALLS                              lines "os arch condor_version sha256 size_bytes url"; the first of
#                                                   this arch with this os (el9, debian12), else the first with "any"
#   GLIDEPOST_SCRATCH      may be empty (then $TMPDIR or /tmp); $VAR, ${VAR} and a leading ~ are expanded here
#   GLIDEPOST_CACHE        may be empty; a folder for tarballs, expanded like the scratch
#   GLIDEPOST_OUTCOMES     may be empty; the folder for the outcome record <glidein id>.json
#   GLIDEPOST_CVMFS        may be empty; repositories, advertised as HAS_CVMFS_<name> where this node has them
#   GLIDEPOST_NETWORK_INTERFACE START GPU_DISCOVERY TASK      may be empty
#
# Outcome, and exit code of this script:
#   idle-shutdown        0  ran user jobs, then there was nothing to do for IDLE_S
#   never-claimed        0  was in the pool, and no user job came for IDLE_S
#   deadline             0  the walltime was near its end
#   killed               0  the batch system, or the pool's admin, ended it
#   never-joined         1  no collector took it in: token refused, port closed, wrong address
#   startd-failed        1  HTCondor ended by itself for any other reason
#   tarball-untrusted    1  not the bytes that the signed demand names; nothing of it was run
#   tarball-unavailable  1  no tarball for this node, or it could not be downloaded
#   token-unreadable     1  the token file is missing, unreadable or empty, or holds no token
#   no-scratch           1  no folder to work in
#   bad-request          2  a variable is missing or malformed, or it was started as root
#
# How "never-joined" is known: HTCondor leaves with exit code 0 whether or not the pool took it in, and "Initial update
# sent" is logged in both cases. Only the registration with the connection broker (CCB) proves that the token was good.

# shellcheck disable=SC2154  # the GLIDEPOST_* variables come from the header
# shellcheck disable=SC2312  # where a command's failure inside "$( )" matters, its text is checked

set -u
umask 077
# Ranges such as [a-z] and messages of tools are the same on every node.
LC_ALL=C
export LC_ALL
# What a module of the batch job put here must not decide which libraries tar and curl load.
unset LD_LIBRARY_PATH LD_PRELOAD
PATH=${PATH:+${PATH}:}/usr/local/bin:/usr/bin:/bin

DOWNLOAD_S=600 # the longest that one download may take
KILL_AFTER_S=8 # after a batch system's TERM some wait only 10 s before they KILL
SIGNALS='TERM INT HUP XCPU USR1 USR2'

glidein=unnamed host=unknown batch_job='' scratch='' started='' started_at=''
phase=preparing child='' child_status='' ended_by='' alarm='' condor_exit=null problem='' value=''

