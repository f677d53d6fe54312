#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the packages that are missing: deps.sh "DEBIAN PACKAGES" "FEDORA PACKAGES" "LIBRARIES" (the
# lists are the Makefile's). Servers among them come as services: those are neither started nor enabled.
set -eu

debian_packages=$1
fedora_packages=$2
libraries=$3
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
	# One that is there already was saved by a run that was killed: then what is in place is ours.
	if [ -e "$policy" ] && [ ! -e "$policy.prometheus-streams" ]; then
		as_root mv "$policy" "$policy.prometheus-streams"
	fi
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 0755 "$policy"
}

allow_starting() {
	as_root rm -f "$policy"
	if [ -e "$policy.prometheus-streams" ]; then
		as_root mv "$policy.prometheus-streams" "$policy"
	fi
}

# Without systemctl nothing runs the unit now, but a systemd installed later would: it takes away the
# links that mean "enabled", as systemctl does.
disable_unit() {
	if command -v systemctl >/dev/null; then
		as_root systemctl --quiet disable "$1" 2>/dev/null
	else
		as_root find /etc/systemd/system -type l -name "$1" -delete
	fi
}

# What the packages just installed would start at the next boot.
disable_services() {
	for package in $missing; do
		is_installed "$package" || continue
		for unit in $(dpkg -L "$package" | sed -n 's,^\(/usr\)\?/lib/systemd/system/\([^/]*\.\(service\|timer\)\)$,\2,p'); do
			disable_unit "$unit" || true
		done
		for script in $(dpkg -L "$package" | sed -n 's,^/etc/init.d/\([^/]*\)$,\1,p'); do
			as_root update-rc.d "$script" disable >/dev/null 2>&1 || true
		done
	done
}

# On every way out, a failed or interrupted installation included.
clean_up() {
	trap - EXIT
	disable_services
	allow_starting
}

if ! command -v apt-get >/dev/null; then
	absent=
	for library in $libraries; do
		pkg-config --exists "$library" 2>/dev/null || absent="$absent $library"
	done
	if [ -z "$absent" ]; then
		exit 0
	fi
	echo "deps: missing (names of pkg-config):$absent" >&2
	echo "deps: this is not Debian or one of its descendants; on Fedora, or RHEL with EPEL, the packages are:" >&2
	echo "  dnf install $fedora_packages" >&2
	echo "and, packaged by neither: cnats >= 3.4 (libnats); for demo and tests, the Push Gateway" >&2
	exit 1
fi

missing=
for package in $debian_packages; do
	is_installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
	exit 0
fi

echo "deps: installing$missing"
trap clean_up EXIT
trap 'exit 130' HUP INT TERM
forbid_starting
as_root apt-get update -q
# shellcheck disable=SC2086 # a list of words
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
