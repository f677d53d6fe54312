#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds source and binary RPMs: build.sh TARBALL TOP [CNATS]. With CNATS, the path of cnats'
# source or "download", that library is linked statically.
set -eu
# What the make that runs this was told is nothing to the one that the package runs.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
tarball=$(realpath "$1")
mkdir -p "$2"
top=$(realpath "$2")
cnats=${3:-}
cd "$(dirname "$0")/../.."
version=$(cat VERSION)
epoch=$(tar --numeric-owner --utc --full-time -tvf "$tarball" "prometheus-streams-$version/VERSION" | awk '{print $4, $5}')
spec=$top/SPECS/prometheus-streams.spec

rm -rf "$top"
mkdir -p "$top/SPECS" "$top/SOURCES"
cp "$tarball" "$top/SOURCES/"
cp packaging/sysusers/prometheus-streams.conf "$top/SOURCES/prometheus-streams.sysusers"
sed -e "s/@VERSION@/$version/" -e "s/@DATE@/$(LC_ALL=C date -u -d "$epoch" '+%a %b %d %Y')/" \
	packaging/rpm/prometheus-streams.spec.in >"$spec"
SOURCE_DATE_EPOCH=$(date -u -d "$epoch" +%s)
export SOURCE_DATE_EPOCH

set -- --define "_topdir $top" --define "use_source_date_epoch_as_buildtime 1" \
	--define "clamp_mtime_to_source_date_epoch 1" --define "_buildhost localhost"
case $cnats in
'') ;;
download)
	set -- "$@" --with bundled_cnats
	spectool -g -C "$top/SOURCES" "$spec"
	;;
*)
	set -- "$@" --with bundled_cnats
	cp "$cnats" "$top/SOURCES/"
	;;
esac
# Debian's rpm lacks the macros, and its database knows no package that would satisfy BuildRequires.
if [ -e /etc/debian_version ]; then
	set -- "$@" --load="$PWD/packaging/rpm/macros.debian" --nodeps
fi
rpmbuild -ba "$@" "$spec" >"$top/log" 2>&1 || {
	tail -n 40 "$top/log" >&2
	exit 1
}
find "$top/RPMS" "$top/SRPMS" -name '*.rpm'
