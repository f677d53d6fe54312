/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers learn of a request. */
#include "common/loop/httpd.h"

#include <microhttpd.h>

const char *httpd_header(const struct httpd_response *response, const char *name)
{
	return MHD_lookup_connection_value(response->connection, MHD_HEADER_KIND, name);
}

struct parameters {
	bool (*visit)(void *arg, const char *name, const char *value);
	void *arg;
};

static enum MHD_Result on_parameter(
	void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct parameters *parameters = arg;

	(void)kind;
	return parameters->visit(parameters->arg, name, value == NULL ? "" : value) ? MHD_YES
										    : MHD_NO;
}

void httpd_each_parameter(const struct httpd_response *response,
	bool (*visit)(void *arg, const char *name, const char *value), void *arg)
{
	struct parameters parameters = {visit, arg};

	MHD_get_connection_values(
		response->connection, MHD_GET_ARGUMENT_KIND, on_parameter, &parameters);
}
