/*
 * Where Redis or Valkey is: the value of `redis_url`. Pure functions.
 *
 *	redis://[[user]:password@]host[:port][/database]
 *	rediss://...                                     the same over TLS
 *	unix:[//[[user]:password@]]/path[?db=database]
 *
 * User and password are percent-decoded; what comes before the last @ is theirs. A host is a name,
 * an IPv4 address, or an IPv6 address in brackets. Parameters other than db, which some clients
 * know, are refused: nothing that somebody wrote is ignored.
 */
#ifndef SHARED_REDIS_URL_H
#define SHARED_REDIS_URL_H

#include <stdbool.h>

#include "shared/base/unix_socket.h"

enum { REDIS_URL_HOST_SIZE = 256, REDIS_URL_WORD_SIZE = 1024 };

struct redis_url {
	bool is_tls;
	char host[REDIS_URL_HOST_SIZE]; /* without brackets; "": a UNIX socket */
	unsigned port;
	char path[UNIX_SOCKET_PATH_MAX + 1]; /* of a UNIX socket, or "" */
	char user[REDIS_URL_WORD_SIZE]; /* "": none, which is the default user */
	char password[REDIS_URL_WORD_SIZE]; /* "": do not log in */
	unsigned database;
};

/* NULL when it is good; otherwise what is wrong, for people and without a byte of the text, or ""
 * when it is nothing like the above. */
const char *redis_url_fault(const char *text, struct redis_url *out);

#endif
