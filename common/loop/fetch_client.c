/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read is one immutable value, shared by the client and the transfers that began with it.
 * The worker thread sees the settings, which do not change, and the stamps of the files, which
 * nobody else looks at while it runs.
 */
#include "common/loop/fetch_client.h"

#include "common/core/file_stamp.h"
#include "common/core/secret.h"
#include "common/core/url.h"
#include "common/loop/fetch_internal.h"

#include <assert.h>

#define LOOK_INTERVAL_MS 2000
#define TAKES_CA_TEXT    (LIBCURL_VERSION_NUM >= 0x074d00)

struct fetch_client {
	struct fetch_clients *clients;
	const struct http_client_settings *settings;
	struct fetch_material *material;
	struct string_list files;
	struct file_stamp *stamps;    /* of the files when they were read */
	struct fetch_material *fresh; /* by the worker; NULL: nothing has changed */
	bool is_given_up;             /* while the worker may look at it */
	void (*on_freed)(void *arg);
	void *freed_arg;
	struct fetch_client *next;
};

struct fetch_clients {
	struct fetch_client *first;
	struct fetch_client *looked_at; /* where the worker begins: new ones come before */
	uv_timer_t timer;
	uv_work_t work;
	bool has_timer, is_working, is_closing;
	void (*on_closed)(void *arg);
	void *arg;
};

/* --- The material. */

void fetch_material_unref(struct fetch_material *material)
{
	if (material == NULL || --material->refs > 0)
		return;
	secret_free(&material->ca);
	secret_free(&material->cert);
	secret_free(&material->key);
	for (size_t i = 0; i < material->headers.count; i++)
		explicit_bzero(material->headers.items[i], strlen(material->headers.items[i]));
	string_list_free(&material->headers);
	free(material);
}

static int read_into(const struct secret_settings *secret, struct buf *out, struct err *err)
{
	return secret_read(secret->value, secret->file, out, err);
}

static int add_header(
	struct fetch_material *material, const char *name, struct slice value, struct err *err)
{
	struct buf line = {0};

	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.ptr[i] < ' ' && value.ptr[i] != '\t')
			return err_setf(err, "the value of the header %s holds a line end", name);
	/* Without a value, curl wants a semicolon. */
	buf_appendf(&line, value.len == 0 ? "%s;" : "%s: ", name);
	buf_append_slice(&line, value);
	string_list_add(&material->headers, buf_slice(&line));
	secret_free(&line);
	return 0;
}

static void append_base64(struct buf *out, struct slice in)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < in.len; i += 3) {
		size_t left = in.len - i;
		unsigned value = (unsigned)(unsigned char)in.ptr[i] << 16;

		value |= left > 1 ? (unsigned)(unsigned char)in.ptr[i + 1] << 8 : 0;
		value |= left > 2 ? (unsigned char)in.ptr[i + 2] : 0;
		buf_append_char(out, digits[value >> 18]);
		buf_append_char(out, digits[value >> 12 & 63]);
		buf_append_char(out, left > 1 ? digits[value >> 6 & 63] : '=');
		buf_append_char(out, left > 2 ? digits[value & 63] : '=');
	}
}

static int read_basic_auth(
	const struct basic_auth_settings *auth, struct fetch_material *material, struct err *err)
{
	struct buf pair = {0}, value = {0};
	int result;

	buf_appendf(&pair, "%s:", auth->username);
	result = read_into(&auth->password, &pair, err);
	buf_append_str(&value, "Basic ");
	append_base64(&value, buf_slice(&pair));
	if (result == 0)
		result = add_header(material, "Authorization", buf_slice(&value), err);
	secret_free(&pair);
	secret_free(&value);
	return result;
}

static int read_authorization(
	const struct authorization_settings *auth, struct fetch_material *material, struct err *err)
{
	struct buf value = {0};
	int result;

	buf_appendf(&value, "%s ", auth->type);
	result = read_into(&auth->credentials, &value, err);
	if (result == 0)
		result = add_header(material, "Authorization", buf_slice(&value), err);
	secret_free(&value);
	return result;
}

static int read_header(
	const struct http_header_settings *header, struct fetch_material *material, struct err *err)
{
	const struct string_list *lists[] = {&header->values, &header->secrets};
	int result = 0;

	for (size_t k = 0; k < ARRAY_LEN(lists); k++)
		for (size_t i = 0; i < lists[k]->count && result == 0; i++)
			result = add_header(
				material, header->name, slice_from(lists[k]->items[i]), err);
	material->is_for_one_host |= header->secrets.count > 0 || header->files.count > 0;
	for (size_t i = 0; i < header->files.count && result == 0; i++) {
		struct buf value = {0};

		result = secret_read(NULL, header->files.items[i], &value, err);
		if (result == 0)
			result = add_header(material, header->name, buf_slice(&value), err);
		secret_free(&value);
	}
	return result;
}

static int read_all(const struct http_client_settings *settings, struct fetch_material *material,
	struct err *err)
{
	const struct tls_config_settings *tls = &settings->tls;

#if !TAKES_CA_TEXT
	if (tls->ca.value != NULL)
		return err_setf(err, "libcurl before 7.77 takes a ca_file, and no ca");
#endif
	if (read_into(&tls->ca, &material->ca, err) != 0 ||
		read_into(&tls->cert, &material->cert, err) != 0 ||
		read_into(&tls->key, &material->key, err) != 0)
		return -1;
	if (settings->basic_auth.present &&
		read_basic_auth(&settings->basic_auth, material, err) != 0)
		return -1;
	if (settings->authorization.present &&
		read_authorization(&settings->authorization, material, err) != 0)
		return -1;
	for (size_t i = 0; i < settings->header_count; i++)
		if (read_header(&settings->headers[i], material, err) != 0)
			return -1;
	return 0;
}

static struct fetch_material *read_material(const struct http_client_settings *settings)
{
	struct fetch_material *material = xcalloc(1, sizeof(*material));

	material->refs = 1;
	material->settings = settings;
	if (read_all(settings, material, &material->error) != 0)
		assert(material->error.text[0] != '\0');
	return material;
}

struct fetch_material *fetch_client_material(struct fetch_client *client)
{
	client->material->refs++;
	return client->material;
}

/* --- Looking at the files. */

/* Before they are read: what changes in between is seen the next time. */
static bool take_stamps(struct fetch_client *client)
{
	bool has_changed = false;

	for (size_t i = 0; i < client->files.count; i++) {
		struct file_stamp now = file_stamp_of(client->files.items[i]);

		has_changed |= !file_stamp_is_same(&now, &client->stamps[i]);
		client->stamps[i] = now;
	}
	return has_changed;
}

/* On a worker thread. What could not be read may be no fault of the file: no descriptor was free.
 */
static void look(uv_work_t *work)
{
	struct fetch_clients *clients = work->data;

	for (struct fetch_client *at = clients->looked_at; at != NULL; at = at->next)
		if (at->files.count > 0 && (take_stamps(at) || at->material->error.text[0] != '\0'))
			at->fresh = read_material(at->settings);
}

static void finish_closing(struct fetch_clients *clients);

/* The one that `link` points to. */
static void free_client(struct fetch_client **link)
{
	struct fetch_client *client = *link;

	*link = client->next;
	fetch_material_unref(client->material);
	fetch_material_unref(client->fresh);
	string_list_free(&client->files);
	free(client->stamps);
	if (client->on_freed != NULL)
		client->on_freed(client->freed_arg);
	free(client);
}

static void take_fresh(struct fetch_client *client)
{
	if (client->fresh == NULL)
		return;
	fetch_material_unref(client->material);
	client->material = client->fresh;
	client->fresh = NULL;
}

static void on_looked(uv_work_t *work, int status)
{
	struct fetch_clients *clients = work->data;

	(void)status;
	clients->is_working = false;
	for (struct fetch_client **link = &clients->first; *link != NULL;) {
		take_fresh(*link);
		if ((*link)->is_given_up)
			free_client(link);
		else
			link = &(*link)->next;
	}
	if (clients->is_closing)
		finish_closing(clients);
}

static void on_timer(uv_timer_t *timer)
{
	struct fetch_clients *clients = timer->data;

	if (clients->is_working)
		return;
	clients->is_working = true;
	clients->looked_at = clients->first;
	clients->work.data = clients;
	uv_queue_work(timer->loop, &clients->work, look, on_looked);
}

/* --- Life. */

static void add_file(struct string_list *files, const char *path)
{
	if (path != NULL)
		string_list_add(files, slice_from(path));
}

static void list_files(const struct http_client_settings *settings, struct string_list *files)
{
	add_file(files, settings->tls.ca.file);
	add_file(files, settings->tls.cert.file);
	add_file(files, settings->tls.key.file);
	add_file(files, settings->basic_auth.password.file);
	add_file(files, settings->authorization.credentials.file);
	for (size_t i = 0; i < settings->header_count; i++)
		string_list_copy(files, &settings->headers[i].files);
}

static bool asks_for_nothing(const struct http_client_settings *settings)
{
	return !settings->tls.present && !settings->basic_auth.present &&
	       !settings->authorization.present && settings->header_count == 0 &&
	       settings->proxy_url == NULL;
}

struct fetch_client *fetch_clients_add(
	struct fetch_clients *clients, uv_loop_t *loop, const struct http_client_settings *settings)
{
	struct fetch_client *client;

	if (asks_for_nothing(settings))
		return NULL;
	client = xcalloc(1, sizeof(*client));
	client->clients = clients;
	client->settings = settings;
	list_files(settings, &client->files);
	client->stamps = xcalloc(client->files.count, sizeof(*client->stamps));
	(void)take_stamps(client);
	client->material = read_material(settings);
	client->next = clients->first;
	clients->first = client;
	if (client->files.count > 0 && !clients->has_timer) {
		clients->has_timer = true;
		uv_timer_init(loop, &clients->timer);
		clients->timer.data = clients;
		uv_timer_start(&clients->timer, on_timer, LOOK_INTERVAL_MS, LOOK_INTERVAL_MS);
	}
	return client;
}

void fetch_client_free(struct fetch_client *client, void (*on_freed)(void *arg), void *arg)
{
	struct fetch_client **link;

	if (client == NULL) {
		on_freed(arg);
		return;
	}
	client->on_freed = on_freed;
	client->freed_arg = arg;
	client->is_given_up = true;
	if (client->clients->is_working)
		return;
	for (link = &client->clients->first; *link != client;)
		link = &(*link)->next;
	free_client(link);
}

struct fetch_clients *fetch_clients_new(void)
{
	return xcalloc(1, sizeof(struct fetch_clients));
}

static void finish_closing(struct fetch_clients *clients)
{
	void (*on_closed)(void *) = clients->on_closed;
	void *arg = clients->arg;

	if (clients->is_working || clients->has_timer)
		return;
	while (clients->first != NULL)
		free_client(&clients->first);
	free(clients);
	on_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct fetch_clients *clients = handle->data;

	clients->has_timer = false;
	finish_closing(clients);
}

void fetch_clients_close(struct fetch_clients *clients, void (*on_closed)(void *arg), void *arg)
{
	clients->is_closing = true;
	clients->on_closed = on_closed;
	clients->arg = arg;
	if (clients->has_timer)
		uv_close((uv_handle_t *)&clients->timer, on_timer_closed);
	else
		finish_closing(clients);
}

/* --- Told to curl. */

static struct curl_blob blob_of(const struct buf *bytes)
{
	return (struct curl_blob){bytes->ptr, bytes->len, CURL_BLOB_NOCOPY};
}

/*
 * curl asks for, and verifies, the host of the URL. So the URL gets the other name, what is
 * connected to stays, and so does the header Host.
 */
static void set_server_name(
	struct fetch_transfer *transfer, const char *url, const char *server_name)
{
	const char *authority = strstr(url, "://") + 3;
	const char *rest = authority + strcspn(authority, "/?#");
	const char *at = memrchr(authority, '@', (size_t)(rest - authority));
	struct url parts;
	char *text, *host_port;

	if (strncmp(url, "https:", 6) != 0 || url_parse(&parts, slice_from(url), NULL) != 0)
		return;
	host_port = url_host_port(&parts);
	text = xasprintf("Host: %s", host_port);
	fetch_add_header(transfer, text);
	free(text);
	text = xasprintf("%.*s%s:%d%s", (int)((at == NULL ? authority : at + 1) - url), url,
		server_name, parts.port, rest);
	curl_easy_setopt(transfer->easy, CURLOPT_URL, text);
	free(text);
	text = strchr(parts.host, ':') == NULL
		       ? xasprintf("%s:%d:%s:%d", server_name, parts.port, parts.host, parts.port)
		       : xasprintf(
				 "%s:%d:[%s]:%d", server_name, parts.port, parts.host, parts.port);
	transfer->connect_to = curl_slist_append(NULL, text);
	curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_TO, transfer->connect_to);
	free(text);
	free(host_port);
	url_fini(&parts);
}

static void set_ca(CURL *easy, const struct fetch_material *material)
{
#if TAKES_CA_TEXT
	struct curl_blob ca = blob_of(&material->ca);

	curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca);
#else
	/* Older ones take a file only, which they read themselves. */
	curl_easy_setopt(easy, CURLOPT_CAINFO, material->settings->tls.ca.file);
#endif
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

static void set_tls(struct fetch_transfer *transfer, const char *url)
{
	const struct fetch_material *material = transfer->material;
	const struct tls_config_settings *tls = &material->settings->tls;
	struct curl_blob cert = blob_of(&material->cert), key = blob_of(&material->key);

	if (material->ca.len > 0)
		set_ca(transfer->easy, material);
	if (cert.len > 0) {
		curl_easy_setopt(transfer->easy, CURLOPT_SSLCERT_BLOB, &cert);
		curl_easy_setopt(transfer->easy, CURLOPT_SSLKEY_BLOB, &key);
	}
	if (tls->insecure_skip_verify) {
		curl_easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	curl_easy_setopt(transfer->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (tls->server_name != NULL)
		set_server_name(transfer, url, tls->server_name);
}

int fetch_client_apply(struct fetch_transfer *transfer, const char *url)
{
	const struct fetch_material *material = transfer->material;

	if (material->error.text[0] != '\0') {
		fetch_say(&transfer->result, "", material->error.text);
		return -1;
	}
	for (size_t i = 0; i < material->headers.count; i++)
		fetch_add_header(transfer, material->headers.items[i]);
	if (material->settings->tls.present)
		set_tls(transfer, url);
	if (material->settings->proxy_url != NULL)
		curl_easy_setopt(transfer->easy, CURLOPT_PROXY, material->settings->proxy_url);
	/* Else libcurl asks the environment which hosts need none. */
	curl_easy_setopt(transfer->easy, CURLOPT_NOPROXY, "");
	return 0;
}
