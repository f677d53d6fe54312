#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every libFuzzer target in FOLDER for SECONDS each, from its corpus; finds go beside the target.
#   run.sh FOLDER SECONDS
set -eu
folder=$1
seconds=$2

# Up to where length lets something new happen: beyond, it only makes each run slow.
max_len() {
	case $1 in
	codec) echo 65538 ;;
	wire) echo 20000 ;;
	exposition_oracle) echo 4096 ;;
	config | exposition | federate | push_body | scrape_bodies | survey | write) echo 16384 ;;
	*) echo 8192 ;;
	esac
}

# Words that bytes changed at random would take long to find.
dict() {
	case $1 in
	exposition_oracle | federate | push_body | scrape_bodies | survey | write) echo exposition ;;
	*) echo "$1" ;;
	esac
}

for target in "$folder"/fuzz_*; do
	name=$(basename "$target" | sed 's/^fuzz_//')
	[ -x "$target" ] && [ -d "tests/fuzz/corpus/$name" ] || continue
	words=tests/fuzz/dict/$(dict "$name").dict
	mkdir -p "$folder/found/$name"
	printf '%s: ' "$name"
	"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-max_len="$(max_len "$name")" -dict="$words" \
		-artifact_prefix="$folder/found/$name-" "$folder/found/$name" "tests/fuzz/corpus/$name" \
		>"$folder/found/$name.log" 2>&1 || { tail -n 40 "$folder/found/$name.log"; exit 1; }
	sed -n 's/^stat::number_of_executed_units: *//p' "$folder/found/$name.log" | sed 's/$/ executions/'
done
