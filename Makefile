# SPDX-License-Identifier: Apache-2.0
# prometheus-streams: `make deps && make` builds both daemons into build/$(V)/.

V       ?= release
PREFIX  ?= /usr/local
WERROR  ?= 0
VERSION := $(shell cat VERSION)

CC      ?= cc
PKG_CONFIG ?= pkg-config
PYTHON  ?= /usr/bin/python3
PYTEST_WORKERS ?= 4

B         := build/$(V)
LIBRARIES := libnats libcurl libuv yaml-0.1 jansson libmicrohttpd libzstd libdeflate
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
OUR_LDFLAGS  := -pthread $(filter -fsanitize%,$(FLAGS_$(V)))
LIB_CFLAGS    = $(shell $(PKG_CONFIG) --cflags $(LIBRARIES))
LIB_LDLIBS    = $(shell $(PKG_CONFIG) --libs $(LIBRARIES)) -lm

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
	$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) $(LDLIBS)

$(B)/libcommon.a: $(call objects,$(COMMON_SRC))
$(B)/libpoller.a: $(call objects,$(POLLER_SRC))
$(B)/libreceiver.a: $(call objects,$(RECEIVER_SRC))
$(B)/lib%.a:
	rm -f $@ && $(AR) rcs $@ $^

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) $(OUR_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Rebuilt only when a flag or the version changes, so that neither needs a `make clean`.
$(B)/flags: force
	@mkdir -p $(@D)
	@echo '$(CC) $(subst ','\'',$(OUR_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS))' | cmp -s - $@ || \
	 echo '$(CC) $(subst ','\'',$(OUR_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS))' > $@
force:

$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/libreceiver.a $(B)/libpoller.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) -lcmocka $(LDLIBS)

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(B)/libreceiver.a $(B)/libpoller.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) $(LDLIBS)

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libreceiver.a $(B)/libpoller.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LDLIBS) $(LDLIBS)

clean:
	rm -rf build

-include $(shell find build/$(V) -name '*.d' 2>/dev/null)
.PHONY: all clean force
