#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Packs the source: dist.sh TARBALL. The bytes depend on the files, their executable bits and one
# time stamp, whether from a git checkout or from an unpacked tarball; such a one says in MANIFEST
# what belongs to it.
set -eu
export LC_ALL=C
umask 022
cd "$(dirname "$0")/.."
tarball=$1
name=prometheus-streams-$(cat VERSION)

# SOURCE_DATE_EPOCH, else the time of the last commit, else that which the tarball had.
if [ -d .git ] || [ -f .git ]; then
	list() { git -c safe.directory="$PWD" ls-files -z | tr '\0' '\n'; }
	epoch=${SOURCE_DATE_EPOCH:-$(git -c safe.directory="$PWD" log -1 --format=%ct)}
elif [ -f MANIFEST ]; then
	list() { cat MANIFEST; }
	epoch=${SOURCE_DATE_EPOCH:-$(stat -c %Y MANIFEST)}
else
	echo "dist: neither a git checkout nor an unpacked tarball" >&2
	exit 1
fi

mkdir -p "$(dirname "$tarball")"
tree=$(mktemp -d "$(dirname "$tarball")/tree.XXXXXX")
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/$name"
list | sort >"$tree/$name/MANIFEST"
tar -cf - --no-recursion -T "$tree/$name/MANIFEST" | tar -xf - -C "$tree/$name"
tar -C "$tree" --sort=name --format=gnu --mtime="@$epoch" --owner=root:0 --group=root:0 --mode=u=rwX,go=rX \
	-cf - "$name" | gzip -9n >"$tarball.new"
mv "$tarball.new" "$tarball"
echo "$tarball"
