/* SPDX-License-Identifier: Apache-2.0 */
/* The process_* family, read from the kernel at each call; what cannot be read is left out. */
#include "common/core/metrics.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t id)
{
	struct timespec now;

	if (clock_gettime(id, &now) != 0)
		return NAN;
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* Field `index` (from 0) of /proc/self/statm, in bytes. */
static double memory_bytes(int index)
{
	double pages[2] = {NAN, NAN};
	FILE *file = fopen("/proc/self/statm", "re");

	if (file == NULL)
		return NAN;
	if (fscanf(file, "%lf %lf", &pages[0], &pages[1]) != 2)
		pages[index] = NAN;
	fclose(file);
	return pages[index] * (double)sysconf(_SC_PAGESIZE);
}

static double virtual_bytes(void)
{
	return memory_bytes(0);
}

static double resident_bytes(void)
{
	return memory_bytes(1);
}

static double open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	double count = -1; /* the directory's own descriptor */

	if (dir == NULL)
		return NAN;
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static double max_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return NAN;
	return limit.rlim_cur == RLIM_INFINITY ? (double)INFINITY : (double)limit.rlim_cur;
}

/* Clock ticks from boot to the start of the process: field 22, counted behind the program's name,
 * which may hold anything. */
static double start_ticks(void)
{
	char stat[1024];
	double ticks = NAN;
	FILE *file = fopen("/proc/self/stat", "re");
	const char *behind_name;
	size_t len;

	if (file == NULL)
		return NAN;
	len = fread(stat, 1, sizeof(stat) - 1, file);
	fclose(file);
	stat[len] = '\0';
	behind_name = strrchr(stat, ')');
	if (behind_name == NULL || sscanf(behind_name + 1,
					   " %*c %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d "
					   "%*d %*d %*d %*d %*d %*d %lf",
					   &ticks) != 1)
		return NAN;
	return ticks;
}

/* Taken once: it must not move when the wall clock is set. */
static double start_time(void)
{
	static double start;

	if (start == 0) {
		double age =
			seconds_of(CLOCK_BOOTTIME) - start_ticks() / (double)sysconf(_SC_CLK_TCK);

		start = round((seconds_of(CLOCK_REALTIME) - age) * 100) / 100;
	}
	return start;
}

static const struct {
	const char *name, *type, *help;
	double (*read)(void);
} rows[] = {
	{"process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
		cpu_seconds},
	{"process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
		resident_bytes},
	{"process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", virtual_bytes},
	{"process_open_fds", "gauge", "Number of open file descriptors.", open_fds},
	{"process_max_fds", "gauge", "Maximum number of open file descriptors.", max_fds},
	{"process_start_time_seconds", "gauge",
		"Start time of the process since unix epoch in seconds.", start_time},
};

void metrics_write_process(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		double value = rows[i].read();

		if (isnan(value))
			continue;
		buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n%s ", rows[i].name, rows[i].help,
			rows[i].name, rows[i].type, rows[i].name);
		metrics_append_number(out, value);
		buf_append_char(out, '\n');
	}
}
