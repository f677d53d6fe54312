/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Push Gateway's /metrics out of arbitrary bytes: what the parser accepts is surveyed, each
 * family has one entry and somebody who exposes it, each group a path.
 */
#include "receiver/sink/push_survey.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_groups(const struct push_survey *survey)
{
	struct buf path = {0};

	for (size_t i = 0; i < survey->group_count; i++) {
		const struct push_survey_group *group = &survey->groups[i];

		assert(group->time_ms >= 0);
		for (size_t k = 0; k < group->family_count; k++)
			assert(group->families[k] < survey->family_count);
		buf_clear(&path);
		push_survey_path(&path, group, i % 2 == 0);
		assert(memcmp(buf_cstr(&path), "/metrics", strlen("/metrics")) == 0);
	}
	buf_free(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice exposition = {(const char *)bytes, len};
	struct push_survey survey;
	struct err err = {""};
	int64_t samples = expo_count_samples(exposition, NULL);
	int result = push_survey_parse(&survey, exposition, &err);

	assert((result == 0) == (samples >= 0));
	assert(result == 0 || err.text[0] != '\0');
	if (result == 0) {
		assert((int64_t)survey.group_count <= samples);
		check_groups(&survey);
	}
	push_survey_fini(&survey);
	return 0;
}
