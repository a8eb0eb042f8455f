#!/bin/bash
# Makes a Debian root file system of another processor, with the bare install of this tree's wheel in /opt/edgeloop (and for
# arm64 the tests' tools in /opt/tools): the places `emulated-arm64` and `emulated-armhf`. It is kept outside of the repository; where
# it is there already, only the wheel is installed anew.
#
#   scripts/emulated_root.sh arm64|armhf [WHEEL]
#
# Everything is mounted in a mount namespace of this script's own, so nothing stays mounted, however it ends.
set -euo pipefail

arch=${1:-} wheel=${2:-}
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
roots=${XDG_CACHE_HOME:-$HOME/.cache}/edgeloop/roots
mirror=${DEBIAN_MIRROR:-}  # empty: the one that debootstrap knows
suite=bookworm  # Raspberry Pi OS of 2023 to 2025; the last with a Python for which tflite-runtime has wheels
limit_s=5400

die() { echo "emulated_root: $1" >&2; exit 1; }

# e_machine of the ELF header: 183 is AArch64, 40 is ARM.
case $arch in
    arm64) qemu=qemu-aarch64-static elf='\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' more='' ;;
    # No 32-bit wheel of msgspec and numpy: the one is compiled there, the other is Debian's.
    armhf) qemu=qemu-arm-static elf='\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00'
        more=,python3-dev,gcc,libc6-dev,python3-numpy,python3-cffi-backend ;;
    *) die "which one? write arm64 or armhf" ;;
esac
root=$roots/$arch

if [[ -z ${EDGELOOP_IN_NAMESPACE:-} ]]; then
    [[ $(id -u) == 0 ]] || die "debootstrap and chroot need root: sudo --preserve-env=HOME,XDG_CACHE_HOME $0 $*"
    for program in debootstrap "$qemu" unshare flock; do
        command -v "$program" >/dev/null ||
            die "no $program here: apt-get install debootstrap qemu-user-static util-linux"
    done
    mkdir -p "$roots"
    EDGELOOP_IN_NAMESPACE=1 exec timeout --kill-after=20 "$limit_s" flock "$roots/.$arch.lock" \
        unshare --mount --propagation private "${BASH_SOURCE[0]}" "$@"
fi

scratch=$(mktemp -d)
registered=
finish() {
    rm -rf "$scratch"
    [[ -z $registered ]] || echo -1 >"/proc/sys/fs/binfmt_misc/$registered"
}
trap finish EXIT

# The kernel starts programs of that processor in qemu: `F` opens qemu here, so that a chroot finds it, too.
register() {
    local rules=/proc/sys/fs/binfmt_misc
    [[ -e $rules/register ]] || mount -t binfmt_misc binfmt_misc "$rules" ||
        die "no $rules: load the kernel's module binfmt_misc (modprobe), or run this on a machine of your own"
    grep --quiet --no-messages "interpreter .*/$qemu" "$rules"/* && return
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":edgeloop-$arch:M::\\x7fELF$elf:$mask:$(command -v "$qemu"):F" >"$rules/register" || die \
        "the kernel doesn't take $qemu for $arch: in a container, have the host do it (apt-get install qemu-user-static there)"
    registered=edgeloop-$arch
}

inside() {
    local proxies=() name
    for name in http_proxy https_proxy no_proxy PIP_INDEX_URL; do
        [[ -z ${!name:-} ]] || proxies+=("$name=${!name}")
    done
    chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_CONSTRAINT="${constraint:-}" PIP_NO_INPUT=1 \
        PIP_DISABLE_PIP_VERSION_CHECK=1 "${proxies[@]}" "$@"
}

# The network, and whom it trusts, as here.
connect() {
    mount --bind /proc "$root/proc"
    mount --bind /sys "$root/sys"
    mount --bind /dev "$root/dev"
    local file
    for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
        [[ ! -e $file ]] || cp --dereference --remove-destination "$file" "$root$file"
    done
    cp "$repository/constraints.txt" "$root/opt/constraints.txt"
    cp --remove-destination "$(command -v "$qemu")" "$root/usr/bin/$qemu"
}

build_wheel() {
    local tree=$scratch/tree package
    mkdir "$tree"
    for package in sdk converters firmware_bridge benchmarks fleet setup.cfg pyproject.toml README.md LICENSE; do
        cp -r "$repository/$package" "$tree"
    done
    find "$tree" -name '*.egg-info' -prune -exec rm -rf {} +
    "${PYTHON:-python3}" -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$scratch" "$tree"
    echo "$scratch"/edgeloop-*.whl
}

fill() {
    local pip=/opt/edgeloop/bin/pip
    if [[ $arch == arm64 ]]; then
        inside python3 -m venv /opt/edgeloop
        constraint=/opt/constraints.txt inside "$pip" install --quiet "/tmp/$(basename "$wheel")"
        constraint=/opt/constraints.txt inside "$pip" install --quiet --target /opt/tools pytest pytest-timeout hypothesis
    else
        # Debian's numpy is 1.24 and edgeloop asks for 1.26, and its cffi is one that pip doesn't see: so pip must not look
        # at what is asked for.
        inside python3 -m venv --system-site-packages /opt/edgeloop
        inside "$pip" install --quiet --no-deps --only-binary :all: tflite-runtime==2.14.0 'paho-mqtt>=2.1,<3' \
            cryptography==44.0.3
        inside env CFLAGS=-O1 "$pip" install --quiet 'msgspec>=0.19'  # -O3 takes a quarter of an hour in qemu
    fi
}

[[ -n $wheel ]] || wheel=$(build_wheel)
key=$(sha256sum "${BASH_SOURCE[0]}" "$repository/constraints.txt" | sha256sum)
if [[ $(cat "$root/opt/edgeloop/ready" 2>/dev/null) != "$key" ]]; then
    echo "making $root: ten minutes or so"
    rm -rf "$root"
    register
    mkdir -p "$root" "$roots/.debs"
    debootstrap --arch="$arch" --variant=minbase --cache-dir="$roots/.debs" \
        --include="python3,python3-venv,ca-certificates$more" "$suite" "$root" ${mirror:+"$mirror"} >"$roots/$arch.log" 2>&1 ||
        die "debootstrap failed: $(tail -n 1 "$roots/$arch.log") (all of it: $roots/$arch.log)"
    connect
    cp "$wheel" "$root/tmp"
    fill >>"$roots/$arch.log" 2>&1 || die "pip failed in there: $(tail -n 1 "$roots/$arch.log") (all of it: $roots/$arch.log)"
else
    register
    connect
    cp "$wheel" "$root/tmp"
fi
constraint='' inside /opt/edgeloop/bin/pip install --quiet --no-deps --no-index --force-reinstall "/tmp/$(basename "$wheel")"
printf '%s' "$key" >"$root/opt/edgeloop/ready"
echo "$root: $(inside /opt/edgeloop/bin/edgeloop --version), $(du --summarize --human-readable --one-file-system "$root" | cut -f1)"
