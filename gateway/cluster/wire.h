/*
 * Bytes to Redis and from it, on a socket that does not block, plain or by TLS: version 1.2 or
 * later, where the server's certificate and its name are always verified, and there is no way to do
 * without. Nothing here blocks, except redis_server_new on the disk.
 */
#ifndef GATEWAY_WIRE_H
#define GATEWAY_WIRE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "shared/contract/redis_url.h"

enum { WIRE_WHY_SIZE = 160 };

/* Where Redis is, and how it proves who it is: for all connections. */
struct redis_server {
	struct redis_url url;
	SSL_CTX *trust; /* NULL: no TLS */
};

/* From the values of `redis_url` and `redis_ca` ("": the system's certificates). NULL with `why`
 * when the URL is none, or the file cannot be read or holds no certificate. */
struct redis_server *redis_server_new(const char *url, const char *ca_file,
				      char why[WIRE_WHY_SIZE]);

/* After the last of its connections. NULL is allowed. */
void redis_server_free(struct redis_server *server);

struct wire {
	int fd; /* whoever has it sets it; -1: none */
	SSL *tls; /* NULL: none */
	char *unsent;
	size_t unsent_len, unsent_size;
	char why[WIRE_WHY_SIZE]; /* it is over, without a byte of the other side; "": it is not */
};

/* The socket is connected: begins with TLS, if that is wanted. */
void wire_secure(struct wire *wire, const struct redis_server *server);

/* Closes the socket. What is left of it is freed by wire_free. */
void wire_close(struct wire *wire);
void wire_free(struct wire *wire);

/* Copies bytes, to be sent by wire_flush, which sends what the socket takes. */
void wire_append(struct wire *wire, const char *bytes, size_t len);
void wire_flush(struct wire *wire);

/* Whether wire_flush is to be called again when the socket can be written to. */
bool wire_wants_to_send(const struct wire *wire);

/* Bytes that have come; 0: none now, or it is over. */
size_t wire_receive(struct wire *wire, char *out, size_t size);

/* There may be more that no poll(2) of the socket tells. */
bool wire_has_more(const struct wire *wire);

/* False until the other side has proved who it is. */
bool wire_is_secure(const struct wire *wire);

#endif
