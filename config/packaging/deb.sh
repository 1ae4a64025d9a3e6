#!/bin/sh
# Makes the Debian packages dwell, libdwell0 and libdwell-dev from what `make install` puts into a root.
#   deb.sh BUILD VERSION      BUILD: where it was built, with the root in BUILD/root; packages go to BUILD
#
# Two designs were weighed. debhelper is what the archive wants, and wants debian/ at the top of the tree
# and 60 packages to build. dpkg-deb is in every Debian system; what debhelper would do for us besides is
# a page: dependencies (dpkg-shlibdeps), stripping, checksums, the calls that enable units. It wins while
# the archive does not have us.
#
# The same commit gives the same bytes: owners, order and times are fixed (SOURCE_DATE_EPOCH).
set -eu

build=$(cd "$1" && pwd)
version=$2
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
root=$build/root
stage=$build/packages
architecture=$(dpkg --print-architecture)
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
maintainer="${DEBFULLNAME:-The dwell authors} <${DEBEMAIL:-dwell@dwell.invalid}>"

# Moves what belongs to a package out of the root: move PACKAGE PATH…
move() {
    package=$1
    shift
    for path in "$@"; do
        mkdir -p "$stage/$package/$(dirname "$path")"
        mv "$root/$path" "$stage/$package/$path"
    done
}

documents() {
    directory=$stage/$1/usr/share/doc/$1
    mkdir -p "$directory"
    {
        echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
        echo
        echo 'Files: *'
        sed -n 's/^Copyright (c) /Copyright: /p' "$top/LICENSE"
        echo 'License: Expat'
        sed -e '1,/^Copyright/d' "$top/LICENSE" | sed -e '/./,$!d; s/^$/./; s/^/ /'
    } >"$directory/copyright"
    {
        printf 'dwell (%s) unstable; urgency=medium\n\n  * As of this version.\n\n' "$version"
        printf ' -- %s  %s\n' "$maintainer" "$(date -uRd "@$SOURCE_DATE_EPOCH")"
    } | gzip -9n >"$directory/changelog.gz"
}

# Relations by shared libraries: relations PACKAGE KIND FILE… gives "shlibs:KIND" in its variables.
relations() {
    package=$1 kind=$2
    shift 2
    mkdir -p "$build/debian"
    printf 'Source: dwell\n\nPackage: %s\nArchitecture: any\n' "$package" >"$build/debian/control"
    printf 'libdwell 0 libdwell0 (= %s)\n' "$version" >"$build/debian/shlibs.local"
    (cd "$build" && dpkg-shlibdeps --ignore-missing-info "-Tdebian/$kind" "-d$kind" "$@")
    sed -n "s/^shlibs:$kind=//p" "$build/debian/$kind"
    rm "$build/debian/$kind"
}

control() {
    package=$1
    {
        printf 'Package: %s\nSource: dwell\nVersion: %s\nArchitecture: %s\n' "$package" "$version" "$architecture"
        printf 'Maintainer: %s\n' "$maintainer"
        printf 'Installed-Size: %s\n' "$(du -sk --apparent-size "$stage/$package" | cut -f1)"
        cat
    } >"$stage/$package.control"
    mkdir -p "$stage/$package/DEBIAN"
    mv "$stage/$package.control" "$stage/$package/DEBIAN/control"
    (cd "$stage/$package" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z |
        xargs -0 md5sum) >"$stage/$package/DEBIAN/md5sums"
    find "$stage/$package" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    chmod -R go-w,go+rX "$stage/$package"
    dpkg-deb --root-owner-group -Zxz --build "$stage/$package" \
        "$build/${package}_${version}_$architecture.deb" >/dev/null
    echo "$build/${package}_${version}_$architecture.deb"
}

rm -rf "$stage" "$build/debian"
find "$root" -type f -name '*.a' -exec strip --strip-debug {} +
find "$root" -type f \( -path '*/bin/*' -o -name '*.so' -o -name '*.so.[0-9]' \) -exec strip --strip-unneeded --remove-section=.comment {} +
find "$root/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +

chmod 644 "$root/usr/lib/$triplet/libdwell.so.0"
move libdwell0 "usr/lib/$triplet/libdwell.so.0"
move libdwell-dev "usr/lib/$triplet/libdwell.so" "usr/lib/$triplet/libdwell.a" "usr/lib/$triplet/pkgconfig" usr/include
move dwell usr etc

documents libdwell0
mkdir -p "$stage/libdwell0/DEBIAN"
echo 'libdwell 0 libdwell0' >"$stage/libdwell0/DEBIAN/shlibs"
echo 'activate-noawait ldconfig' >"$stage/libdwell0/DEBIAN/triggers"
depends=$(relations libdwell0 Depends "packages/libdwell0/usr/lib/$triplet/libdwell.so.0")
control libdwell0 <<END
Section: libs
Priority: optional
Multi-Arch: same
Depends: $depends
Description: telemetry of inferences: C client
 Sends inference samples, spans, metrics and budget events to dwelld over
 a Unix socket, without blocking, allocating or waiting for it.
END

documents libdwell-dev
control libdwell-dev <<END
Section: libdevel
Priority: optional
Multi-Arch: same
Depends: libdwell0 (= $version)
Description: telemetry of inferences: C client, development files
 The header, the static library and what pkg-config needs, to build
 programs that send their telemetry to dwelld.
END

documents dwell
for script in postinst prerm postrm; do
    install -Dm755 "$here/deb.$script" "$stage/dwell/DEBIAN/$script"
done
echo /etc/dwell/dwelld.json >"$stage/dwell/DEBIAN/conffiles"
depends=$(relations dwell Depends packages/dwell/usr/bin/dwelld packages/dwell/usr/bin/dwell)
modules=$(ls "$stage/dwell/usr/lib/$triplet/dwell/"*.so 2>/dev/null || true)
# shellcheck disable=SC2086  # a list of paths that are ours
recommends=${modules:+$(relations dwell Recommends $modules)}
relations=$(printf 'Depends: %s' "$depends"; [ -z "$recommends" ] || printf '\nRecommends: %s' "$recommends")
control dwell <<END
Section: utils
Priority: optional
$relations
Description: telemetry of machine-learning inferences
 The daemon dwelld runs beside services that do inference. It says for each
 model how slow it is, what it is bound by and whether a GPU would help,
 serves Prometheus and exports OTLP; dwell is its command-line tool.
 .
 Export by OTLP takes the recommended packages.
END
