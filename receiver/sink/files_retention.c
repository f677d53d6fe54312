/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pass finds out what there is by age, and deletes what the pass before it found to be too much:
 * so that the oldest of all folders go first, and memory is the same for any number of files.
 * Between passes what is stored is added up; more than there may be begins the next one at once.
 */
#include "receiver/sink/files_retention.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "receiver/sink/files_walk.h"

#define PASS_MIN_MS INT64_C(1000)
#define PASS_MAX_MS INT64_C(60000)
/* Of the time, passes take no more than one part in so many. */
#define PASS_PART 20
/* Deleting goes on so far below the limit, that not each file stored begins a pass. */
#define SLACK_PART 20
/* What nothing can be gained from, as only latest files are left, is not tried again so soon. */
#define FUTILE_MS PASS_MAX_MS

struct files_retention {
	struct files_retention_options options;
	char *top;
	uv_timer_t timer;
	uv_work_t work;
	struct files_walk *walk; /* NULL between passes */
	enum files_step step;
	struct files_ages found, finding;  /* by the last pass, and by this one */
	int64_t begun_ms;                  /* monotonic */
	int64_t not_before_ms;             /* monotonic, the next pass */
	uint64_t held_bytes, stored_bytes; /* the second since the pass began */
	bool is_cut_enough;                /* what is too much was known to be there */
	bool is_working, is_closing;
	struct log_limit unreadable;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void on_timer(uv_timer_t *timer);

static int64_t mono_ms(void)
{
	return (int64_t)clock_mono_ms();
}

static bool is_over(const struct files_retention *retention)
{
	return retention->options.bytes > 0 && retention->held_bytes > retention->options.bytes;
}

/* Earlier where there is more than may be, once it is known what is oldest. */
static void arm(struct files_retention *retention)
{
	int64_t wait_ms = retention->not_before_ms - mono_ms();

	if (retention->walk != NULL || retention->is_closing)
		return;
	uv_timer_start(&retention->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

/* Fine enough that what goes is the oldest, coarse enough for all there is. */
static int64_t choose_width_ms(const struct files_retention *retention, int64_t now_ms)
{
	int64_t span_ms = retention->found.oldest_ms == 0 ? PASS_MAX_MS * FILES_AGES
							  : now_ms - retention->found.oldest_ms;
	int64_t width_ms = span_ms / (FILES_AGES - 1) + 1;

	return width_ms > 10 ? width_ms : 10;
}

/* Whether the last pass told ages so exactly that the oldest can be told from others. */
static bool is_fine(const struct files_retention *retention, int64_t now_ms)
{
	return retention->found.oldest_ms != 0 &&
	       retention->found.width_ms <= 2 * choose_width_ms(retention, now_ms);
}

static struct files_cut make_cut(struct files_retention *retention, int64_t now_ms)
{
	struct files_cut cut = {0};
	uint64_t limit = retention->options.bytes;

	if (retention->options.age_ms > 0)
		cut.age_before_ms = now_ms - retention->options.age_ms;
	retention->is_cut_enough = false;
	if (is_over(retention) && is_fine(retention, now_ms))
		retention->is_cut_enough = files_cut_for_size(&cut, &retention->found,
			retention->held_bytes - (limit - limit / SLACK_PART));
	return cut;
}

static void do_step(uv_work_t *work)
{
	struct files_retention *retention = work->data;

	retention->step = files_walk_step(retention->walk);
}

static void finish_closing(uv_handle_t *handle)
{
	struct files_retention *retention = handle->data;

	files_walk_free(retention->walk);
	free(retention->top);
	retention->on_closed(retention->closed_arg);
	free(retention);
}

static void close_timer(struct files_retention *retention)
{
	uv_close((uv_handle_t *)&retention->timer, finish_closing);
}

static void tell(struct files_retention *retention, const struct files_tally *tally)
{
	const struct {
		const char *reason;
		uint64_t files;
	} deleted[] = {
		{"age", tally->deleted_age},
		{"size", tally->deleted_size},
		{"temporary", tally->deleted_temporary},
	};

	for (size_t i = 0; i < sizeof(deleted) / sizeof(deleted[0]); i++)
		if (deleted[i].files > 0)
			retention->options.on_deleted(
				retention->options.arg, deleted[i].reason, deleted[i].files);
	if (tally->failed)
		log_limited(&retention->unreadable, LOG_WARN,
			"not all of dir can be read, or not all that is too old be deleted",
			LOG_S("dir", retention->top));
}

static int64_t pause_ms(const struct files_retention *retention, bool is_futile)
{
	int64_t took_ms = mono_ms() - retention->begun_ms;
	int64_t wait_ms = retention->options.age_ms / PASS_PART;

	if (is_over(retention))
		return is_futile ? FUTILE_MS : 0;
	if (wait_ms == 0 || wait_ms > PASS_MAX_MS)
		wait_ms = PASS_MAX_MS;
	if (wait_ms < took_ms * PASS_PART)
		wait_ms = took_ms * PASS_PART;
	return wait_ms > PASS_MIN_MS ? wait_ms : PASS_MIN_MS;
}

static void end_pass(struct files_retention *retention)
{
	const struct files_tally *tally = files_walk_tally(retention->walk);

	tell(retention, tally);
	retention->held_bytes = tally->kept_bytes + retention->stored_bytes;
	retention->found = retention->finding;
	retention->not_before_ms =
		mono_ms() +
		pause_ms(retention, retention->is_cut_enough && tally->deleted_size == 0);
	files_walk_free(retention->walk);
	retention->walk = NULL;
	arm(retention);
}

static void go_on(struct files_retention *retention);

static void on_step_done(uv_work_t *work, int status)
{
	struct files_retention *retention = work->data;

	(void)status;
	retention->is_working = false;
	if (retention->is_closing) {
		close_timer(retention);
		return;
	}
	if (retention->step == FILES_STEP_END) {
		end_pass(retention);
		return;
	}
	if (retention->step == FILES_STEP_FOLDER)
		files_walk_answer(
			retention->walk, retention->options.is_alive(retention->options.arg,
						 files_walk_folder(retention->walk)));
	go_on(retention);
}

static void go_on(struct files_retention *retention)
{
	retention->is_working = true;
	retention->work.data = retention;
	uv_queue_work(retention->options.loop, &retention->work, do_step, on_step_done);
}

static void on_timer(uv_timer_t *timer)
{
	struct files_retention *retention = timer->data;
	int64_t now_ms = clock_wall_ms();
	struct files_cut cut = make_cut(retention, now_ms);

	retention->begun_ms = mono_ms();
	retention->stored_bytes = 0;
	memset(&retention->finding, 0, sizeof(retention->finding));
	retention->finding.from_ms = now_ms;
	retention->finding.width_ms = choose_width_ms(retention, now_ms);
	retention->walk = files_walk_new(retention->top, now_ms, &cut, &retention->finding);
	go_on(retention);
}

struct files_retention *files_retention_open(const struct files_retention_options *options)
{
	struct files_retention *retention = xcalloc(1, sizeof(*retention));

	retention->options = *options;
	retention->top = xstrdup(options->top);
	uv_timer_init(options->loop, &retention->timer);
	retention->timer.data = retention;
	arm(retention);
	return retention;
}

static void hurry(struct files_retention *retention)
{
	int64_t soon_ms = mono_ms() + PASS_MIN_MS;

	if (retention->not_before_ms > soon_ms)
		retention->not_before_ms = soon_ms;
	arm(retention);
}

void files_retention_set_limits(struct files_retention *retention, int64_t age_ms, uint64_t bytes)
{
	retention->options.age_ms = age_ms;
	retention->options.bytes = bytes;
	hurry(retention);
}

void files_retention_note(struct files_retention *retention, uint64_t bytes)
{
	bool was_over = is_over(retention);

	retention->held_bytes += files_cost(bytes);
	retention->stored_bytes += files_cost(bytes);
	if (!was_over && is_over(retention))
		hurry(retention);
}

uint64_t files_retention_held_bytes(const struct files_retention *retention)
{
	return retention->held_bytes;
}

void files_retention_close(
	struct files_retention *retention, void (*on_closed)(void *arg), void *arg)
{
	retention->is_closing = true;
	retention->on_closed = on_closed;
	retention->closed_arg = arg;
	uv_timer_stop(&retention->timer);
	if (!retention->is_working)
		close_timer(retention);
}
