#!/bin/sh
# Installs what is missing for the named purposes: build, test, peers, demo, workloads, lint, audit, fuzz,
# deb, packages.
# On Debian with apt, with sudo when not root; elsewhere it says what to install. Exit 1: missing.
set -eu

build='gcc libc6-dev make pkg-config libuv1-dev libmicrohttpd-dev libjansson-dev libdeflate-dev libxxhash-dev libseccomp-dev
       libcurl4-openssl-dev libncurses-dev libgrpc-dev libprotobuf-c-dev protobuf-c-compiler'
test='libcmocka-dev libgsl-dev protobuf-compiler prometheus openssl python3 curl
      netcat-openbsd binutils g++ man-db python3-pyte zsh fish systemd python3-yaml'
peers='python3 python3-venv python3-pip protobuf-compiler valgrind'
demo='python3 python3-sklearn python3-numpy'
workloads='python3 python3-venv python3-pip python3-numpy python3-sklearn libopenblas0-pthread'
lint='clang clang-format shellcheck python3'
audit='git cppcheck clang-tidy abigail-tools python3'
fuzz='clang libclang-rt-dev'
deb='dpkg-dev'
packages='mmdebstrap lintian git'

wanted=
for purpose in "$@"; do
    case $purpose in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    peers)
        wanted="$wanted $peers"
        # Any npm will do, and Debian's brings hundreds of packages.
        command -v npm >/dev/null 2>&1 || wanted="$wanted nodejs npm"
        # The same of languages in which the README has a program; together they are 180 MB.
        command -v ruby >/dev/null 2>&1 || wanted="$wanted ruby"
        command -v rustc >/dev/null 2>&1 || wanted="$wanted rustc"
        command -v java >/dev/null 2>&1 || wanted="$wanted default-jdk-headless"
        ;;
    demo) wanted="$wanted $demo" ;;
    workloads) wanted="$wanted $workloads" ;;
    lint) wanted="$wanted $lint" ;;
    audit) wanted="$wanted $audit" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    deb) wanted="$wanted $deb" ;;
    packages) wanted="$wanted $packages" ;;
    *) echo "deps.sh: no purpose named $purpose" >&2 && exit 64 ;;
    esac
done

is_installed() {
    dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Debian 12 has the sanitizer runtime under the compiler's version only.
resolve() {
    case $1 in
    libclang-rt-dev) if apt-cache show libclang-rt-dev >/dev/null 2>&1; then echo "$1"; else echo libclang-rt-14-dev; fi ;;
    *) echo "$1" ;;
    esac
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is no Debian system. Please install, under whatever names it has them:" >&2
    for package in $wanted; do echo "    $package" >&2; done
    exit 0
fi

missing=
for package in $wanted; do
    package=$(resolve "$package")
    is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing packages, and neither root nor sudo to install them. Run as root:" >&2
        echo "    apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "  DEPS  installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install_missing() {
    # shellcheck disable=SC2086  # the list is meant to be split
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$log" 2>&1
}
if ! install_missing; then
    # The lists of packages may be old, or not there yet.
    if ! $sudo apt-get update >"$log" 2>&1 || ! install_missing; then
        cat "$log" >&2
        exit 1
    fi
fi
