#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the binary packages for this release of Debian or Ubuntu: build.sh TARBALL TOP
set -eu
# What the make that runs this was told is nothing to the one that the package runs.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
tarball=$(realpath "$1")
rm -rf "$2"
mkdir -p "$2"
top=$(realpath "$2")
cd "$(dirname "$0")/../.."
version=$(cat VERSION)
tree=$top/prometheus-streams-$version

cp "$tarball" "$top/prometheus-streams_$version.orig.tar.gz"
tar -C "$top" -xf "$tarball"
cp -r packaging/debian "$tree/debian"
rm "$tree/debian/build.sh"
SOURCE_DATE_EPOCH=$(stat -c %Y "$tree/VERSION")
export SOURCE_DATE_EPOCH
sed -e "s/@VERSION@/$version/g" -e "s/@DATE@/$(LC_ALL=C date -u -d "@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S +0000')/" \
	"$tree/debian/changelog.in" >"$tree/debian/changelog"
for script in postinst prerm postrm lintian-overrides; do
	for kind in poller receiver; do
		sed "s/@kind@/$kind/g" "$tree/debian/$script.in" >"$tree/debian/prometheus-streams-$kind.$script"
	done
done
rm "$tree"/debian/*.in
(cd "$tree" && dpkg-buildpackage -us -uc "-j$(nproc)") >"$top/log" 2>&1 || {
	tail -n 40 "$top/log" >&2
	exit 1
}
rm -r "$tree"
find "$top" -maxdepth 1 -name '*.deb'
