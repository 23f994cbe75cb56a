/* Where Redis is, see redis_url.h. No state, no allocation, never blocks. */
#include "shared/contract/redis_url.h"

#include "shared/base/slice.h"
#include "shared/contract/client_address.h"

enum { DEFAULT_PORT = 6379, PORTS = 65535, DATABASES = 65535 };

static const char too_long[] = "the user or password is longer than 1023 bytes";
static const char bad_escape[] = "a % is not followed by two hex digits other than 00 "
				 "(a % of the user or password is written %25)";
static const char bad_database[] = "the database is not a number from 0 to 65535";

static bool take(const char **text, const char *prefix)
{
	size_t len = strlen(prefix);
	bool is_there = strncmp(*text, prefix, len) == 0;

	*text += is_there ? len : 0;
	return is_there;
}

/* Percent-decodes. */
static const char *decode(struct slice text, char out[REDIS_URL_WORD_SIZE])
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		int byte = (unsigned char)text.at[i];

		if (len == REDIS_URL_WORD_SIZE - 1)
			return too_long;
		if (byte == '%') {
			byte = slice_percent((struct slice){text.at + i, text.len - i});
			i += 2;
			if (byte <= 0)
				return bad_escape;
		}
		out[len++] = (char)byte;
	}
	out[len] = '\0';
	return NULL;
}

/* [[user]:password@]: what is left of *rest comes after the last @. A user alone would mean to log
 * in without a password, which Redis cannot. */
static const char *set_login(struct slice *rest, struct redis_url *out)
{
	struct slice user, password;
	const char *fault;
	size_t at = rest->len;

	while (at > 0 && rest->at[at - 1] != '@')
		at--;
	if (at == 0)
		return NULL;
	user = slice_split((struct slice){rest->at, at - 1}, ':', &password);
	rest->at += at;
	rest->len -= at;
	if (!password.at || (user.len > 0 && password.len == 0))
		return "there is a user without a password: write user:password@, or :password@ "
		       "for the default user";
	fault = decode(user, out->user);
	return fault ? fault : decode(password, out->password);
}

static const char *set_host(struct slice rest, struct redis_url *out)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-._";
	struct client_address address;
	bool is_bracketed = rest.len > 0 && rest.at[0] == '[';
	struct slice host, port = {0}, behind;

	if (is_bracketed) {
		host = slice_split((struct slice){rest.at + 1, rest.len - 1}, ']', &behind);
		if (!behind.at || !memchr(host.at, ':', host.len) ||
		    !client_address_parse(host.at, host.len, &address))
			return "what is in brackets is not an IPv6 address";
		if (behind.len > 0 && slice_split(behind, ':', &port).len > 0)
			return "there is something between the brackets and the port";
	} else {
		host = slice_split(rest, ':', &port);
		if (port.at && memchr(port.at, ':', port.len))
			return "an IPv6 address must be in brackets";
		for (size_t i = 0; i < host.len; i++)
			if (!memchr(letters, host.at[i], sizeof(letters) - 1))
				return "the host is not a name or an address";
	}
	if (host.len == 0 || host.len >= sizeof(out->host))
		return "there is no host, or it is longer than 255 bytes";
	out->port = DEFAULT_PORT;
	if (port.at && (!slice_number(port, PORTS, &out->port) || out->port == 0))
		return "the port is not a number from 1 to 65535";
	memcpy(out->host, host.at, host.len);
	return NULL;
}

static const char *fault_of_socket(const char *text, struct redis_url *out)
{
	size_t len = strcspn(text, "?");
	const char *fault;

	if (take(&text, "//")) {
		struct slice login = {text, strcspn(text, "/")};

		len = strcspn(text, "?");
		fault = set_login(&login, out);
		if (fault)
			return fault;
		len -= (size_t)(login.at - text);
		text = login.at;
	}
	if (*text != '/' || len < 2)
		return "the path of a UNIX socket must be absolute";
	if (len > UNIX_SOCKET_PATH_MAX)
		return "the path of a UNIX socket may have 107 bytes";
	memcpy(out->path, text, len);
	text += len;
	if (*text == '\0')
		return NULL;
	if (!take(&text, "?db="))
		return "behind the ? of a UNIX socket there may only be db=0 or another number";
	return slice_number(slice_of(text), DATABASES, &out->database) ? NULL : bad_database;
}

const char *redis_url_fault(const char *text, struct redis_url *out)
{
	struct slice rest, database;
	const char *fault;

	*out = (struct redis_url){0};
	if (take(&text, "unix:"))
		return fault_of_socket(text, out);
	if (take(&text, "rediss://"))
		out->is_tls = true;
	else if (!take(&text, "redis://"))
		return "";
	if (strpbrk(text, "?#"))
		return "parameters behind a ? or # are not known (in the user or password they are "
		       "written %3F and %23)";
	rest = slice_split(slice_of(text), '/', &database);
	if (database.len > 0 && memchr(database.at, '@', database.len))
		return "a / of the user or password is written %2F";
	fault = set_login(&rest, out);
	if (!fault)
		fault = set_host(rest, out);
	if (!fault && database.len > 0 && !slice_number(database, DATABASES, &out->database))
		fault = bad_database;
	return fault;
}
