#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the unit tests named on the command line, two at a time, and says which failed.
#   run.sh BUILD_FOLDER TEST...
set -u
build=$1
shift

export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1:suppressions=tests/tsan.supp}"
mkdir -p "$build/unit-logs"
failed="$build/unit-logs/failed"
rm -f "$failed"

printf '%s\n' "$@" | xargs -P 2 -I '{}' sh -c '
	name=$(basename "$1")
	if ! CMOCKA_MESSAGE_OUTPUT=stdout "$1" >"$2/unit-logs/$name.log" 2>&1; then
		echo "$name" >>"$3"
	fi
' sh '{}' "$build" "$failed"

passed=0
for test in "$@"; do
	log="$build/unit-logs/$(basename "$test").log"
	tests=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -n 1)
	passed=$((passed + ${tests:-0}))
	grep -hi 'skipped:\|absent' "$log" | sed "s/^/$(basename "$test"): /" | sort -u | head -n 5
done
if [ -e "$failed" ]; then
	while read -r name; do
		echo "--- $name"
		tail -n 60 "$build/unit-logs/$name.log"
	done <"$failed"
	echo "unit tests: $passed passed; failed: $(sort "$failed" | tr '\n' ' ')" >&2
	exit 1
fi
echo "unit tests: $passed passed in $# programs"
