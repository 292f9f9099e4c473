#!/bin/sh
# A glidein: joins an HTCondor pool from inside one batch job, runs user jobs, leaves, and leaves nothing behind.
#
# The parts in this folder, one after the other, are one text (site_puller/script.py joins them). It stands after a
# header of GLIDEPOST_* assignments in one batch script, which may also come from standard input. So it reads no file of
# its own, does not look at $0, and does not exec: the shell stays as the parent that turns the batch system's kill into
# a fast end of HTCondor and always removes the scratch folder.
#
# Needs: POSIX sh (dash, bash, busybox ash), coreutils, grep, sed, tar, gzip; curl, wget or python3 to download.
#
# Request (all are required unless it says "may be empty"):
#   GLIDEPOST_NAME SITE GLIDEIN_SITE SHAPE POOL     who it is, advertised in its ClassAds
#   GLIDEPOST_COLLECTORS                            "host:port host:port"
#   GLIDEPOST_CPUS MEMORY_MIB DISK_MIB GPUS         what it offers at most
#   GLIDEPOST_WALLTIME_S RETIRE_S IDLE_S UPDATE_S   batch limit; its last seconds without new user jobs; how long to
#                                                   stay unclaimed; seconds between updates to the collector
#   GLIDEPOST_TOKEN_FILE                            the pool token; where that cannot be read, a file of the same name in
#                                                   the folder that the batch job starts in, as HTCondor puts it there
#   GLIDEPOST_TARBALLS                              lines "os arch condor_version sha256 size_bytes url", then if known
#                                                   the least glibc ("-": any) and unpacked_bytes; the first that runs
#                                                   here with this os (el9, debian12), else the first with "any"; what
#                                                   is behind a line "else" only if none before it fits
#   GLIDEPOST_SCRATCH      may be empty (then $TMPDIR or /tmp); $VAR, ${VAR} and a leading ~ are expanded here
#   GLIDEPOST_CACHE        may be empty; a folder for tarballs, expanded like the scratch
#   GLIDEPOST_OUTCOMES     may be empty; the folder for the outcome record <glidein id>.json
#   GLIDEPOST_CVMFS        may be empty; repositories, advertised as HAS_CVMFS_<name> where this node has them
#   GLIDEPOST_NETWORK_INTERFACE START GPU_DISCOVERY TASK      may be empty
#   GLIDEPOST_SETUP        may be empty; lines of shell to run first, see run_setup
#   GLIDEPOST_KEEP         may be empty; names of the batch job's variables that HTCondor and user jobs get too
#   GLIDEPOST_ENVIRONMENT  may be empty; lines NAME=text, for the same, expanded here
#   GLIDEPOST_PROXY        may be empty; http://host:port, for downloads here and for the same
#   GLIDEPOST_CHECKS       may be empty; names of checks; GLIDEPOST_CHECK_1 is the text of the first, see run_checks
#   GLIDEPOST_OWN_CHECKS   may be empty; the same for Glidepost's own, GLIDEPOST_OWN_CHECK_1; GLIDEPOST_REQUIRE are the
#                          names of those that the node must pass; all run again every GLIDEPOST_CHECK_EVERY_S (600)
#   GLIDEPOST_RANK GROUP   may be empty; which user jobs are preferred
#   GLIDEPOST_BACKFILL     "yes": user jobs without GPUs may use a glidein that has some
#   GLIDEPOST_DRAIN_FILE STAGGER_S         may be missing; a file that ends the glidein; it ends up to so much earlier
#   GLIDEPOST_LOGS LOGS_FOLDER LOGS_EVERY_S LOGS_MAX_MIB LOG_FORM    may be missing; see 2-logs.sh
#   GLIDEPOST_CVMFSEXEC PARROT             may be empty; other ways to CVMFS, see 7-cvmfs.sh
#   GLIDEPOST_JOB_SETUP APPTAINER USER_IMAGE BINDS GLIDEIN_IMAGE HIDE_TOKEN KEY_FILE  may be missing; 8-jobs.sh, 7-inside.sh
#   GLIDEPOST_SETUP_S CHECK_S FAIL_PAUSE_S      may be missing (300, 60, 300): the longest that the setup, and that one
#                                               check may take; how long a node that has failed holds its batch job
#
# Outcome, and exit code of this script:
#   idle-shutdown        0  ran user jobs, then there was nothing to do for IDLE_S
#   never-claimed        0  was in the pool, and no user job came for IDLE_S
#   deadline             0  the walltime was near its end
#   drained              0  the site's drain file is there: it left when its user jobs had ended
#   killed               0  the batch system, or the pool's admin, ended it
#   never-joined         1  no collector took it in: token refused, port closed, wrong address
#   startd-failed        1  HTCondor ended by itself for any other reason
#   tarball-untrusted    1  not the bytes that the signed demand names; nothing of it was run
#   tarball-unavailable  1  no tarball for this node, or it could not be downloaded
#   token-unreadable     1  the token file is missing, unreadable or empty, or holds no token
#   no-scratch           1  no folder to work in, or it is full
#   no-gpu               1  the glidein is to have GPUs, and none is there
#   setup-failed         1  a setup line called exit, or is no shell, or they took too long
#   check-failed:NAME    1  the site's check of that name, or a required one of ours, did not like this node
#   bad-request          2  a variable is missing or malformed, or it was started as root
#
# How "never-joined" is known: HTCondor leaves with exit code 0 whether or not the pool took it in, and "Initial update
# sent" is logged in both cases. Only the registration with the connection broker (CCB) proves that the token was good.

# shellcheck disable=SC2154  # the GLIDEPOST_* variables come from the header
# shellcheck disable=SC2312  # where a command's failure inside "$( )" matters, its text is checked

set -u
# Where the batch system started this: it may have put files there.
batch_folder=$(pwd 2>/dev/null)
# What the setup lines and user jobs are to see, before it is changed for this script.
batch_umask=$(umask) batch_lc_all=${LC_ALL:-} batch_path=${PATH:-/usr/local/bin:/usr/bin:/bin}
batch_ld_library_path=${LD_LIBRARY_PATH:-} batch_ld_preload=${LD_PRELOAD:-}
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
NEWLINE='
'

glidein=unnamed host=unknown batch_job='' scratch='' started='' started_at=''
more_config='' more_names='' start_conditions=''
phase=preparing child='' child_status='' ended_by='' alarm='' condor_exit=null problem='' value=''

