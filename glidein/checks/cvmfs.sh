#!/bin/sh
# Does each repository of CVMFS that is mounted on the node answer? A listing makes the automounter mount it; where it
# is empty nothing is mounted. A mount that hangs is common, so each repository has a child of its own, which is killed;
# they are asked at the same time. At the start 7-cvmfs.sh has looked, and in other ways too.
set -u
[ -n "${GLIDEPOST_CVMFS:-}" ] || {
  echo 'this site names no repository'
  exit 2
}
for repository in ${GLIDEPOST_CVMFS}; do
  (
    # (timeout with KILL does not wait for a child that even KILL cannot end)
    # shellcheck disable=SC2016  # for that shell
    timeout -s KILL 20 sh -c 'cd -- "$1" && [ -n "$(ls -A)" ]' - "${CVMFS_MOUNT_DIR:-/cvmfs}/${repository}" \
      >/dev/null 2>&1 && : >"${TMPDIR}/${repository}"
  ) &
done
wait
missing=''
for repository in ${GLIDEPOST_CVMFS}; do
  attribute=HAS_CVMFS_$(printf %s "${repository}" | tr -c 'A-Za-z0-9' '_')
  if [ -e "${TMPDIR}/${repository}" ]; then
    echo "${attribute} = true"
  else
    echo "${attribute} = false"
    missing="${missing} ${repository}"
  fi
done
if [ -z "${missing}" ]; then
  echo 'PYGLIDEIN_RESOURCE_CVMFS = true'
  exit 0
fi
echo 'PYGLIDEIN_RESOURCE_CVMFS = false'
echo "no answer from${missing}"
exit 1
