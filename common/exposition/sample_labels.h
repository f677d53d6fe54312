/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_EXPOSITION_SAMPLE_LABELS_H
#define PS_COMMON_EXPOSITION_SAMPLE_LABELS_H
/*
 * The labels of one sample taken together; for the parser's own files. Their number is not limited.
 * Pure; any thread.
 */
#include "common/exposition/exposition.h"

/*
 * The name, quoted or not, of the first label that Prometheus would refuse to store, or NULL: one
 * called __name__, or one whose name, escapes resolved, an earlier label has. `labels` must be
 * validated otherwise.
 */
const char *expo_refused_label(struct slice labels);

#endif
