/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of `federate`. */
#include "common/config/settings_security.h"

#include <stdio.h>

int settings_split_listen(const char *listen, struct settings_listen *parts, struct err *err)
{
	const char *colon = strrchr(listen, ':');
	size_t len = colon == NULL ? 0 : (size_t)(colon - listen);
	char *end;
	long port;

	if (len >= sizeof(parts->address))
		return err_setf(err, "\"%.80s\" is no address and port", listen);
	snprintf(parts->address, sizeof(parts->address), "%.*s", (int)len, listen);
	if (len > 2 && listen[0] == '[' && listen[len - 1] == ']')
		snprintf(parts->address, sizeof(parts->address), "%.*s", (int)len - 2, listen + 1);
	if (len == 0)
		snprintf(parts->address, sizeof(parts->address), "0.0.0.0");
	port = colon == NULL || colon[1] < '0' || colon[1] > '9' ? -1 : strtol(colon + 1, &end, 10);
	if (port < 0 || port > 65535 || *end != '\0')
		return err_setf(err, "\"%.80s\" lacks a port: 0.0.0.0:9099", listen);
	parts->port = (int)port;
	return check_ip_address(parts->address, err);
}

static int check_listen(const char *listen, struct err *err)
{
	struct settings_listen parts;

	return settings_split_listen(listen, &parts, err);
}

static const struct config_key federate_keys[] = {
	{.name = "name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct federate_settings, name),
		.flags = CONFIG_RESTART,
		.max = NAME_MAX_LEN,
		.check = check_durable_part,
		.fallback_note = "`federate`, `federate_2`, ...",
		.help = "Names the sink in metrics and logs."},
	{.name = "listen",
		.type = CONFIG_STRING,
		CONFIG_AT(struct federate_settings, listen),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_RESTART,
		.check = check_listen,
		.help = "The IP address and port that /federate is served at; `:9099` is every "
			"address."},
	{.name = "publisher_label",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct federate_settings, publisher_label),
		.flags = CONFIG_RESTART,
		.fallback = "true",
		.help = "Whether each series gets the label `publisher`, which keeps apart the "
			"same job and instance of several data centres."},
	FILE_KEY("web_config_file", struct federate_settings, web_config_file, CONFIG_RESTART,
		"A file in the format of Prometheus' web.config.file, with TLS and users, as that "
		"of the monitor port. Read at the start."),
	{.name = "max_concurrent_requests",
		.type = CONFIG_INT,
		CONFIG_AT(struct federate_settings, max_concurrent_requests),
		.fallback = "4",
		.min = 1,
		.max = 32,
		.help = "How many answers may be under way at once; who comes then is told to try "
			"again (503). Each may hold on to the scrapes that it began with."},
};

const struct config_table federate_table = {
	.title = "/federate",
	KEYS(federate_keys),
	.size = sizeof(struct federate_settings),
	POSITION(struct federate_settings),
	NO_NAME,
	NO_PRESENT,
};
