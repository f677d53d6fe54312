/* SPDX-License-Identifier: Apache-2.0 */
/* A table by path, and a list in each holder. */
#include "receiver/sink/push_claims.h"

#include <assert.h>
#include <string.h>

struct push_claims {
	struct push_claim *by_path;
};

struct push_claims *push_claims_new(void)
{
	return xcalloc(1, sizeof(struct push_claims));
}

void push_claims_free(struct push_claims *claims)
{
	assert(claims->by_path == NULL);
	free(claims);
}

static size_t claim_bytes(size_t path_len)
{
	return sizeof(struct push_claim) + path_len + 1;
}

void push_holder_init(struct push_holder *holder)
{
	holder->round = 1;
	holder->bytes = 0;
	TAILQ_INIT(&holder->claims);
}

struct push_claim *push_claims_take(
	struct push_claims *claims, struct push_holder *holder, const char *path, bool *is_repeated)
{
	struct push_claim *claim;
	size_t len = strlen(path);

	HASH_FIND(by_path, claims->by_path, path, len, claim);
	if (claim == NULL) {
		claim = xcalloc(1, claim_bytes(len));
		claim->holder = holder;
		memcpy(claim->path, path, len);
		HASH_ADD(by_path, claims->by_path, path, len, claim);
		TAILQ_INSERT_TAIL(&holder->claims, claim, of_holder);
		holder->bytes += claim_bytes(len);
	}
	if (claim->holder != holder)
		return claim;
	if (is_repeated != NULL)
		*is_repeated = claim->round == holder->round;
	claim->round = holder->round;
	return claim;
}

struct push_claim *push_claims_find(const struct push_claims *claims, const char *path)
{
	struct push_claim *claim;

	HASH_FIND(by_path, claims->by_path, path, strlen(path), claim);
	return claim;
}

void push_claims_release(struct push_claims *claims, struct push_claim *claim)
{
	HASH_DELETE(by_path, claims->by_path, claim);
	TAILQ_REMOVE(&claim->holder->claims, claim, of_holder);
	push_types_release(&claim->types);
	claim->holder->bytes -= claim_bytes(strlen(claim->path));
	free(claim);
}

void push_claims_abandon(struct push_claims *claims, struct push_claim *claim)
{
	push_types_abandon(&claim->types);
	push_claims_release(claims, claim);
}

void push_claims_release_all(struct push_claims *claims, struct push_holder *holder)
{
	while (!TAILQ_EMPTY(&holder->claims))
		push_claims_release(claims, TAILQ_FIRST(&holder->claims));
}

void push_claims_abandon_all(struct push_claims *claims, struct push_holder *holder)
{
	while (!TAILQ_EMPTY(&holder->claims))
		push_claims_abandon(claims, TAILQ_FIRST(&holder->claims));
}

const struct push_claim *push_claims_find_holder(const struct push_claims *claims,
	struct slice family, const struct push_type_holder *except)
{
	const struct push_claim *claim;

	for (claim = claims->by_path; claim != NULL; claim = claim->by_path.next)
		if (&claim->types != except && push_types_holds(&claim->types, family))
			return claim;
	return NULL;
}

size_t push_claims_count(const struct push_claims *claims)
{
	return HASH_CNT(by_path, claims->by_path);
}
