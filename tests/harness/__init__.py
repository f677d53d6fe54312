# SPDX-License-Identifier: Apache-2.0
"""Real servers, stubs and our daemons for the end-to-end tests, the demo and the benchmarks.

Everything listens on loopback, on free ports, in a temporary folder, and is stopped by whoever
started it. Nothing waits for a fixed time: wait_until() polls a condition under a deadline.
"""
