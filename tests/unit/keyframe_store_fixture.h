/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_KEYFRAME_STORE_FIXTURE_H
#define PS_TESTS_UNIT_KEYFRAME_STORE_FIXTURE_H
/*
 * A store of keyframes on a link that the test answers for, with a clock that it sets. Include once
 * per program, before cmocka's headers.
 */
#include "receiver/keyframe_store.h"
#include "receiver/metrics.h"
#include "tests/unit/fake_link.h"
#include "tests/unit/fake_time.h"

#define WAY "$JS.API.DIRECT.GET.S."

struct store {
	struct codec *codec;
	struct metrics *metrics;
	struct keyframe_store *keyframes;
};

static inline void store_open(struct store *store, uint64_t memory_bytes)
{
	struct keyframe_store_options options = {
		.link = &fake_link,
		.stream = "S",
		.max_scrape_bytes = 100000,
		.memory_bytes = memory_bytes,
	};

	fake_link_reset();
	store->codec = options.codec = codec_new();
	store->metrics = options.metrics = metrics_new(receiver_metric_defs, RM_COUNT);
	store->keyframes = keyframe_store_open(&options);
	fake_up();
}

static inline void store_close(struct store *store)
{
	keyframe_store_close(store->keyframes);
	metrics_free(store->metrics);
	codec_free(store->codec);
	if (fake_link.live_outgoing != 0 || fake_outstanding(NULL) != 0)
		abort();
	fake_time_reset();
}

/* The request for the keyframe ends so; false if nobody asked. */
static inline bool store_end(const char *subject, enum nats_reply outcome)
{
	char *request = xasprintf(WAY "%s", subject);
	bool found = fake_end(request, outcome, "");

	free(request);
	return found;
}

/* Answered with a stored message whose Ps-Time is what the subject ends with. */
static inline bool store_answer_in(const char *subject, struct slice body, const char *encoding)
{
	const struct fake_header headers[] = {{"Nats-Stream", "S"},
		{"Ps-Time", strrchr(subject, '.') + 1}, {"Content-Encoding", encoding},
		{NULL, NULL}};
	struct nats_incoming answer = {.body = body, .headers = headers};
	char *request = xasprintf(WAY "%s", subject);
	bool found = fake_reply(request, NATS_REPLY_OK, &answer, "");

	free(request);
	return found;
}

static inline bool store_answer(const char *subject, const char *body)
{
	return store_answer_in(subject, slice_from(body), "identity");
}

/* "Not found". */
static inline bool store_miss(const char *subject)
{
	struct nats_incoming answer = {.status = 404};
	char *request = xasprintf(WAY "%s", subject);
	bool found = fake_reply(request, NATS_REPLY_OK, &answer, "");

	free(request);
	return found;
}

#endif
