/*
 * TLS between a connection's bytes and what they say: OpenSSL with buffers in memory, so that all
 * reading and writing stays with the loop. Version 1.2 or later; the server's certificate and its
 * name are always verified, and there is no way to do without. Nothing here blocks, except
 * tls_context_new on the disk.
 */
#ifndef GATEWAY_TLS_H
#define GATEWAY_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

enum { TLS_WHY_SIZE = 128 };

struct tls;

/* What all connections share: the certificates that are trusted, of `ca_file`, or the system's if
 * that is "". NULL with `why`. Free it with SSL_CTX_free, after the last of its connections. */
SSL_CTX *tls_context_new(const char *ca_file, char why[TLS_WHY_SIZE]);

/* A connection to `host`, a name or an address, which the certificate must be for. */
struct tls *tls_new(SSL_CTX *context, const char *host);

/* NULL is allowed. */
void tls_free(struct tls *tls);

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_FAILED };

/* Goes on with the handshake as far as that is possible with what has come. What is to be sent then
 * is for tls_take_output, even after a failure, which the other side should hear of. */
enum tls_state tls_handshake(struct tls *tls);

/* Bytes as they came. All of them are taken. */
void tls_feed(struct tls *tls, const char *bytes, size_t len);

/* The next of what they say. 0: there is no more of it now, or it has failed or ended. */
size_t tls_read(struct tls *tls, char *out, size_t size);

/* False: it has failed. */
bool tls_write(struct tls *tls, const char *bytes, size_t len);

/* What is to be sent, *len bytes to be freed; NULL: nothing. */
char *tls_take_output(struct tls *tls, size_t *len);

/* Why it has failed or ended, without a byte of the other side; NULL: it has not. */
const char *tls_why(const struct tls *tls);

#endif
