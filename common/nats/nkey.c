/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seed is base32 of: five bits that say "seed", eight that say whose, three of padding, 32 bytes
 * of ed25519 seed, CRC-16. A public key is base32 of: eight bits that say whose, 32 bytes, CRC-16.
 */
#include "common/nats/nkey.h"

#include "common/core/base64.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#define SEED_PREFIX (18 << 3)
#define USER_PREFIX (20 << 3)
#define RAW_BYTES   32
#define SEED_TEXT   58
#define SEED_BYTES  (2 + RAW_BYTES + 2)

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const unsigned char *bytes, size_t len)
{
	uint16_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		crc = (uint16_t)(crc ^ (unsigned)bytes[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? (unsigned)crc << 1 ^ 0x1021u
						      : (unsigned)crc << 1);
	}
	return crc;
}

static bool ends_with_crc(const unsigned char *bytes, size_t len)
{
	uint16_t crc = crc16(bytes, len - 2);

	return bytes[len - 2] == (crc & 0xff) && bytes[len - 1] == crc >> 8;
}

static bool base32_decode(struct slice text, unsigned char *out)
{
	unsigned bits = 0, value = 0;

	for (size_t i = 0; i < text.len; i++) {
		const char *at = text.ptr[i] == '\0' ? NULL : strchr(ALPHABET, text.ptr[i]);

		if (at == NULL)
			return false;
		value = value << 5 | (unsigned)(at - ALPHABET);
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			*out++ = (unsigned char)(value >> bits);
			value &= (1u << bits) - 1;
		}
	}
	return true;
}

static void base32_encode(const unsigned char *bytes, size_t len, char *out)
{
	unsigned bits = 0, value = 0;

	for (size_t i = 0; i < len; i++) {
		value = value << 8 | bytes[i];
		bits += 8;
		while (bits >= 5) {
			bits -= 5;
			*out++ = ALPHABET[value >> bits & 31];
			value &= (1u << bits) - 1;
		}
	}
	*out = '\0';
}

/* -1 only where the library has no ed25519. */
static int derive(const unsigned char *seed, unsigned char *public_key)
{
	size_t len = RAW_BYTES;
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, RAW_BYTES);
	int result =
		key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 ? 0 : -1;

	EVP_PKEY_free(key);
	return result;
}

int nkey_public(struct slice seed, char public_key[NKEY_PUBLIC_BYTES], struct err *err)
{
	unsigned char bytes[SEED_BYTES], out[1 + RAW_BYTES + 2];
	uint16_t crc;
	int result;

	if (seed.len != SEED_TEXT || !base32_decode(seed, bytes) ||
		!ends_with_crc(bytes, SEED_BYTES) || (bytes[0] & 0xf8) != SEED_PREFIX)
		return err_setf(err, "is no nkey seed");
	if (((bytes[0] & 7) << 5 | bytes[1] >> 3) != USER_PREFIX)
		return err_setf(err, "is no user's nkey seed: those begin with SU");
	out[0] = USER_PREFIX;
	result = derive(bytes + 2, out + 1);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (result != 0)
		return err_setf(err, "ed25519 is not available");
	crc = crc16(out, 1 + RAW_BYTES);
	out[1 + RAW_BYTES] = (unsigned char)(crc & 0xff);
	out[2 + RAW_BYTES] = (unsigned char)(crc >> 8);
	base32_encode(out, sizeof(out), public_key);
	return 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next word; false at the end. */
static bool next_word(struct slice *text, struct slice *word)
{
	size_t i = 0, start;

	while (i < text->len && is_space(text->ptr[i]))
		i++;
	start = i;
	while (i < text->len && !is_space(text->ptr[i]))
		i++;
	*word = (struct slice){text->ptr + start, i - start};
	*text = (struct slice){text->ptr + i, text->len - i};
	return word->len > 0;
}

/* The first word that begins so; the words of decorations are short, or begin with dashes. */
static bool find_word(struct slice text, const char *prefix, size_t least, struct slice *found)
{
	size_t len = strlen(prefix);

	if (text.ptr == NULL)
		return false;
	while (next_word(&text, found))
		if (found->len >= least && memcmp(found->ptr, prefix, len) == 0)
			return true;
	return false;
}

bool nkey_find_seed(struct slice text, struct slice *seed)
{
	return find_word(text, "S", SEED_TEXT, seed);
}

bool nkey_find_jwt(struct slice text, struct slice *jwt)
{
	return find_word(text, "eyJ", 40, jwt);
}

bool nkey_jwt_expiry(struct slice jwt, int64_t *expires_s)
{
	const char *first = memchr(jwt.ptr, '.', jwt.len);
	const char *body = first == NULL ? NULL : first + 1;
	const char *last =
		body == NULL ? NULL : memchr(body, '.', jwt.len - (size_t)(body - jwt.ptr));
	struct buf text = {0};
	json_t *claims = NULL;

	if (last != NULL &&
		base64_decode_digits((struct slice){body, (size_t)(last - body)}, "-_", &text) == 0)
		claims = json_loadb(text.ptr, text.len, 0, NULL);
	*expires_s = json_integer_value(json_object_get(claims, "exp"));
	json_decref(claims);
	buf_free(&text);
	return *expires_s != 0;
}
