#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the packages that are missing: deps.sh "DEBIAN PACKAGES" "FEDORA PACKAGES" (the lists are
# the Makefile's). Servers among them come as services; they are installed neither started nor enabled.
set -eu

debian_packages=$1
fedora_packages=$2
policy=/usr/sbin/policy-rc.d

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "deps: not root, and there is no sudo; as root run: apt-get install $missing" >&2
		exit 1
	fi
}

is_installed() {
	dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# Debian's packages ask this file whether a service may be started: for a while, none may.
forbid_starting() {
	if [ -e "$policy" ]; then
		as_root mv "$policy" "$policy.prometheus-streams"
	fi
	trap allow_starting EXIT INT TERM
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 0755 "$policy"
}

allow_starting() {
	trap - EXIT INT TERM
	as_root rm -f "$policy"
	if [ -e "$policy.prometheus-streams" ]; then
		as_root mv "$policy.prometheus-streams" "$policy"
	fi
}

# What the packages just installed would start at the next boot.
disable_services() {
	command -v systemctl >/dev/null || return 0
	for package in $missing; do
		for unit in $(dpkg -L "$package" | sed -n 's,^\(/usr\)\?/lib/systemd/system/\([^/]*\.\(service\|timer\)\)$,\2,p'); do
			as_root systemctl --quiet disable "$unit" 2>/dev/null || true
		done
	done
}

if ! command -v apt-get >/dev/null; then
	echo "deps: this is not Debian or one of its descendants; on Fedora, RHEL or EPEL the packages are:" >&2
	echo "  dnf install $fedora_packages" >&2
	echo "Where a package is missing there, its pkg-config name is in the Makefile's LIBRARIES." >&2
	for library in libnats libcurl libuv yaml-0.1 jansson libmicrohttpd libzstd libdeflate; do
		pkg-config --exists "$library" 2>/dev/null || exit 1
	done
	exit 0
fi

missing=
for package in $debian_packages; do
	is_installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
	exit 0
fi

echo "deps: installing$missing"
forbid_starting
as_root apt-get update -q
# shellcheck disable=SC2086 # a list of words
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
allow_starting
disable_services
