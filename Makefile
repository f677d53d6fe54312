# SPDX-License-Identifier: Apache-2.0
# prometheus-streams.
#
#   make deps     install what building, testing and the demo need
#   make          build both daemons into build/$(V)/; V=release (default), debug, asan or tsan
#   make demo     the whole chain with live data on loopback; ONESHOT=1 ends once the data was seen
#   make test     unit and end-to-end tests; test-unit and test-e2e are its halves
#   make bench    figures, beside the peers they are compared with; a table, JSON and a plot
#   make install  into $(DESTDIR)$(PREFIX)
#   make dist, rpm, deb   source and packages, into build/; see packaging/packages.mk

V       ?= release
PREFIX  ?= /usr/local
WERROR  ?= 0
VERSION := $(shell cat VERSION)

# Packagers' tools say V=1 where they want whole commands; they say VERBOSE=1 as well.
ifneq ($(filter 0 1,$(V)),)
override V := release
endif

CC      ?= cc
PKG_CONFIG ?= pkg-config
PYTHON  ?= /usr/bin/python3
PYTEST_WORKERS ?= 4
JOBS ?= $(shell nproc)

# VERBOSE=1 shows whole commands; otherwise one short line each.
ifeq ($(VERBOSE),1)
say = $(2)
else
say = @echo "  $(1)  $(patsubst $(B)/%,%,$@)"; $(2)
endif

comma     := ,
B         := build/$(V)
LIBRARIES := libnats libcurl libuv yaml-0.1 jansson libmicrohttpd gnutls libzstd libdeflate snappy zlib libpcre2-8 libssl libcrypto libcrypt
FLAGS_release := -O2 -g
FLAGS_debug   := -O0 -g3
FLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif

ifeq ($(filter $(V),release debug asan tsan),)
$(error V=$(V): choose release, debug, asan or tsan)
endif

# A user's CFLAGS come last, so that they win; ours hold what the code cannot do without.
CFLAGS       ?= $(FLAGS_$(V))
OUR_CFLAGS   := -std=gnu11 $(WARNINGS) -I. -D_GNU_SOURCE -DVERSION='"$(VERSION)"' \
                $(filter -fsanitize% -fno-sanitize%,$(FLAGS_$(V)))
# Each daemon names the libraries that it uses. Not in sanitizer builds: the runtime has functions of the
# same names, which do nothing without the library behind them (crypt_r).
SANITIZERS   := $(filter -fsanitize%,$(FLAGS_$(V)))
OUR_LDFLAGS  := -pthread $(if $(SANITIZERS),,-Wl$(comma)--as-needed) $(SANITIZERS)
# Asked once, and only where something is compiled: `make deps` must run before they can be answered.
LIB_CFLAGS    = $(eval LIB_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(LIBRARIES)))$(LIB_CFLAGS)
LIB_LDLIBS    = $(eval LIB_LDLIBS := $$(shell $(PKG_CONFIG) --libs $(LIBRARIES)) -lm)$(LIB_LDLIBS)

# The prefix of a cnats that is to be linked statically, where the distribution has none.
ifdef CNATS
LIBRARIES  := $(filter-out libnats,$(LIBRARIES))
OUR_CFLAGS += -isystem $(CNATS)/include
LIB_LDLIBS  = $(eval LIB_LDLIBS := $(CNATS)/lib/libnats_static.a $$(shell $(PKG_CONFIG) --libs $(LIBRARIES)) -lm)$(LIB_LDLIBS)
endif

# What `make deps` installs: to build, to test and format, and the servers that demo and tests run.
DEBIAN_PACKAGES := gcc libc6-dev make pkg-config libnats-dev libcurl4-openssl-dev libuv1-dev libyaml-dev \
                   libjansson-dev libmicrohttpd-dev libgnutls28-dev libzstd-dev libdeflate-dev libsnappy-dev zlib1g-dev libpcre2-dev libssl-dev libcrypt-dev uthash-dev \
                   libcmocka-dev clang libclang-rt-dev clang-format valgrind ca-certificates openssl perl python3 python3-pytest python3-pytest-xdist python3-yaml python3-protobuf protobuf-compiler \
                   nats-server prometheus prometheus-pushgateway prometheus-node-exporter victoria-metrics iproute2 curl
# And to build packages and look into them.
DEBIAN_PACKAGING := build-essential cpio debhelper dpkg-dev elfutils fakeroot file git lintian logrotate mandoc procps rpm rpmlint strace systemd
# Fedora and EPEL have neither cnats nor the Push Gateway nor VictoriaMetrics; node-exporter and nats-server come with
# Fedora, the latter not with EPEL.
FEDORA_PACKAGES := gcc make pkgconf-pkg-config libcurl-devel libuv-devel libyaml-devel \
                   jansson-devel libmicrohttpd-devel gnutls-devel libzstd-devel libdeflate-devel snappy-devel zlib-devel pcre2-devel openssl-devel libxcrypt-devel uthash-devel \
                   libcmocka-devel clang compiler-rt clang-tools-extra valgrind ca-certificates openssl perl python3 python3-pytest python3-pytest-xdist \
                   python3-pyyaml python3-protobuf protobuf-compiler nats-server golang-github-prometheus node-exporter iproute curl
# What only `make bench` needs, to draw.
BENCH_DEBIAN_PACKAGES := gnuplot-nox fonts-dejavu-core
BENCH_FEDORA_PACKAGES := gnuplot-minimal dejavu-sans-fonts

COMMON_SRC   := $(wildcard common/*.c common/*/*.c)
POLLER_SRC   := $(filter-out poller/main.c,$(wildcard poller/*.c))
RECEIVER_SRC := $(filter-out receiver/main.c,$(wildcard receiver/*.c receiver/*/*.c))
UNIT_SRC     := $(wildcard tests/unit/test_*.c)
FUZZ_SRC     := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC    := $(wildcard tests/bench/*.c)
HEADERS      := $(wildcard common/*.h common/*/*.h poller/*.h receiver/*.h receiver/*/*.h)

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
DAEMONS := $(B)/prometheus-streams-poller $(B)/prometheus-streams-receiver
UNITS   := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
BENCHES := $(patsubst tests/bench/%.c,$(B)/bench/%,$(BENCH_SRC))
# Fuzz targets run their corpus as ordinary programs; `make fuzz` builds them with libFuzzer.
REPLAYS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))

.DELETE_ON_ERROR:
.SECONDARY:
all: $(DAEMONS)

$(B)/prometheus-streams-poller: $(B)/obj/poller/main.o $(B)/libpoller.a $(B)/libcommon.a
$(B)/prometheus-streams-receiver: $(B)/obj/receiver/main.o $(B)/libreceiver.a $(B)/libcommon.a
$(DAEMONS):
	$(call say,LD,$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) $(LDLIBS))

$(B)/libcommon.a: $(call objects,$(COMMON_SRC))
$(B)/libpoller.a: $(call objects,$(POLLER_SRC))
$(B)/libreceiver.a: $(call objects,$(RECEIVER_SRC))
$(B)/lib%.a:
	$(call say,AR,rm -f $@ && $(AR) rcs $@ $^)

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$(CC) $(LIB_CFLAGS) $(OUR_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<)

# Rebuilt only when a flag or the version changes, so that neither needs a `make clean`.
$(B)/flags: force
	@mkdir -p $(@D)
	@echo '$(CC) $(subst ','\'',$(OUR_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS))' | cmp -s - $@ || \
	 echo '$(CC) $(subst ','\'',$(OUR_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS))' > $@
force:

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/libreceiver.a $(B)/libpoller.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) -lcmocka $(LDLIBS))

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(B)/libreceiver.a $(B)/libpoller.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) $(LDLIBS))

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libreceiver.a $(B)/libpoller.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) $(LDLIBS))

deps:
	@packaging/deps.sh "$(DEBIAN_PACKAGES)" "$(FEDORA_PACKAGES)" "$(LIBRARIES)"

deps-packages:
	@packaging/deps.sh "$(DEBIAN_PACKAGES) $(DEBIAN_PACKAGING)" "$(FEDORA_PACKAGES) rpm-build rpmdevtools" "$(LIBRARIES)"

# These install what they need first; what follows runs in a make of its own, which then finds it.
demo: deps
	+@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(PYTHON) tests/demo.py --build $(B) $(if $(ONESHOT),--oneshot)

test: deps
	+@$(MAKE) --no-print-directory -j$(JOBS) test-unit
	+@$(MAKE) --no-print-directory test-e2e

test-unit: $(UNITS) $(REPLAYS)
	@tests/unit/run.sh $(B) $(UNITS)
	@for replay in $(REPLAYS); do \
	  $$replay tests/fuzz/corpus/$$(basename $$replay | sed 's/^fuzz_//') >$$replay.log 2>&1 || \
	  { tail -n 30 $$replay.log; exit 1; }; tail -n 1 $$replay.log; done

test-e2e: all
	@BUILD=$(B) $(PYTHON) -m pytest -q -n $(PYTEST_WORKERS) tests/e2e $(PYTEST_ARGS)

asan tsan:
	+@$(MAKE) --no-print-directory -j$(JOBS) V=$@ test-unit
	+@$(MAKE) --no-print-directory -j$(JOBS) V=$@ test-e2e

# Needs gnuplot beside what everything else does. The default run takes less than 25 minutes; parts of
# it: BENCH_ARGS="--targets 100,1000 --modes passthrough --seconds 30", see --help.
bench:
	@packaging/deps.sh "$(DEBIAN_PACKAGES) $(BENCH_DEBIAN_PACKAGES)" "$(FEDORA_PACKAGES) $(BENCH_FEDORA_PACKAGES)" "$(LIBRARIES)"
	+@$(MAKE) --no-print-directory -j$(JOBS) all $(BENCHES)
	@BENCH_ARGS='$(BENCH_ARGS)' $(PYTHON) tests/bench/bench.py --build $(B) $(BENCH_ARGS)

# Each target for FUZZ_SECONDS with libFuzzer; what it finds is left in build/fuzz/.
FUZZ_SECONDS ?= 60
fuzz:
	+@$(MAKE) --no-print-directory -j$(JOBS) B=build/fuzz V=debug CC=clang LDLIBS= \
	  CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" \
	  $(patsubst tests/fuzz/%.c,build/fuzz/libfuzzer/%,$(FUZZ_SRC))
	@tests/fuzz/run.sh build/fuzz/libfuzzer $(FUZZ_SECONDS)

$(B)/libfuzzer/%: $(B)/obj/tests/fuzz/%.o $(B)/libreceiver.a $(B)/libpoller.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$(CC) $(CFLAGS) -fsanitize=fuzzer $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) $(LDLIBS))

C_FILES := $(HEADERS) $(COMMON_SRC) $(wildcard poller/*.c receiver/*.c receiver/*/*.c tests/*/*.c tests/*/*.h)
format:
	clang-format -i $(C_FILES)

# Formatting, headers that compile alone, and no warning from either compiler.
lint:
	@clang-format --dry-run -Werror $(C_FILES)
	@for header in $(HEADERS); do \
	  $(CC) $(LIB_CFLAGS) $(OUR_CFLAGS) -Werror -fsyntax-only -x c $$header || exit 1; done
	+@$(MAKE) --no-print-directory -j$(JOBS) B=build/lint-gcc CC=gcc WERROR=1 all $(patsubst $(B)/%,build/lint-gcc/%,$(UNITS) $(REPLAYS) $(BENCHES))
	+@$(MAKE) --no-print-directory -j$(JOBS) B=build/lint-clang CC=clang WERROR=1 all $(patsubst $(B)/%,build/lint-clang/%,$(UNITS) $(REPLAYS) $(BENCHES))

include packaging/packages.mk

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: all deps deps-packages demo test test-unit test-e2e asan tsan bench fuzz format lint clean force
