#!/bin/sh
# May an ordinary account make a user namespace, as containers without root and cvmfsexec need it?
set -u
most=unknown
read -r most 2>/dev/null <"${GLIDEPOST_PROC:-/proc}/sys/user/max_user_namespaces" || :
no() {
  echo "HAS_USER_NAMESPACES = false"
  echo "$1"
  exit 1
}
[ "${most}" != 0 ] || no 'user.max_user_namespaces is 0'
command -v unshare >/dev/null || {
  echo 'this node has no unshare to try it with'
  exit 2
}
problem=$(timeout -s KILL 10 unshare -Ur true 2>&1) || no "unshare: ${problem}"
echo "HAS_USER_NAMESPACES = true"
