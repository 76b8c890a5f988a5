#!/usr/bin/env bash
# Boots a real systemd in a container, and runs a script in it as root.
#
#   nspawn.sh CACHE FOLDER
#
# FOLDER is /test inside; the script is FOLDER/inside.sh, and leaves there what it saw. Its output comes out of this command, and its
# exit code is this command's. CACHE is a folder for the root file system, which takes a minute to make and is made once.
# It has the packages that the package of opwatch needs, and socat as a server with TLS.
set -euo pipefail
cache=$1 folder=$2

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
# The same release as here, so that the program finds the C library that it was built with.
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
packages=systemd,systemd-sysv,dbus,ca-certificates,socat
tar=$cache/$suite-${packages//,/-}.tar
if [ ! -f "$tar" ]; then
    mkdir -p "$cache"
    $as_root mmdebstrap --quiet --variant=minbase --include=$packages "$suite" "$tar.$$.tar"
    mv "$tar.$$.tar" "$tar"
fi

root=$(mktemp -d)
trap '$as_root rm -rf --one-file-system "$root"; $as_root chown -R "$(id -u)" "$folder"' EXIT
$as_root tar -C "$root" -xf "$tar"
mkdir "$folder/unit"
cat >"$folder/unit/inside.service" <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
WorkingDirectory=/test
# The container ends with the script, however that ends.
ExecStart=/bin/bash -c 'timeout 240 bash -eu inside.sh >output 2>&1; echo $? >code; systemctl --no-block poweroff'
UNIT
$as_root install -D -m 644 -t "$root/etc/systemd/system" "$folder/unit/inside.service"
$as_root ln -sf ../inside.service "$root/etc/systemd/system/multi-user.target.wants/inside.service"
$as_root timeout --kill-after=10 300 systemd-nspawn --quiet --directory="$root" --machine="opwatch-test-$$" --setenv=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 \
    --register=no --keep-unit --private-network --bind="$folder:/test" --console=pipe --boot </dev/null >"$folder/console" 2>&1 || {
    cat "$folder/console" >&2
    exit 1
}
cat "$folder/output"
exit "$(cat "$folder/code")"
