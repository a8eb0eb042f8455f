#!/bin/bash
# Installs those of the named Debian packages that are missing, where that is allowed. It never fails:
# a test whose program is missing skips, and says so.
set -uo pipefail

missing=()
for package in "$@"; do
    # A program of that name does as well, wherever it comes from.
    command -v "$package" >/dev/null || [[ -x "/usr/sbin/$package" ]] ||
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing+=("$package")
done
((${#missing[@]})) || exit 0

give_up() {
    echo "not installed: ${missing[*]} ($1); the tests that need them will skip" >&2
    exit 0
}

command -v apt-get >/dev/null || give_up "no apt here"
as_root=()
if [[ "$(id -u)" != 0 ]]; then
    sudo --non-interactive true 2>/dev/null || give_up "needs root: sudo apt-get install ${missing[*]}"
    as_root=(sudo --non-interactive)
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 -o DPkg::Lock::Timeout=60 \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 "$@" </dev/null
}

echo "installing ${missing[*]}"
apt update >/dev/null  # the lists may be old, or not there yet
failed=()
for package in "${missing[@]}"; do
    apt install --no-install-recommends "$package" >/dev/null || failed+=("$package")
done
((${#failed[@]})) || exit 0
missing=("${failed[@]}")
give_up "apt-get failed"
