/*
 * Bytes to and from Redis, see wire.h. State: in each struct, and OpenSSL's. With TLS, which makes
 * its handshake by itself, sending may have to wait for what is to be read, and is tried again when
 * that has come.
 */
#include "gateway/cluster/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"

/* The oldest error that OpenSSL has a text for, a constant. */
static const char *openssl_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	return reason ? reason : "unknown error";
}

#ifdef WITHOUT_URANDOM /* a program for any system: OpenSSL cannot know where the certificates are \
			*/
static bool trust_system(SSL_CTX *context)
{
	static const char *const files[] = {
		"/etc/ssl/certs/ca-certificates.crt", /* Debian, Ubuntu, Arch */
		"/etc/pki/tls/certs/ca-bundle.crt", /* Fedora, RHEL and their kin */
		"/etc/ssl/ca-bundle.pem", /* SUSE */
		"/etc/ssl/cert.pem", /* Alpine */
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (SSL_CTX_load_verify_file(context, files[i]) == 1)
			return true;
	return false;
}
#else
static bool trust_system(SSL_CTX *context)
{
	return SSL_CTX_set_default_verify_paths(context) == 1;
}
#endif

static SSL_CTX *trust_new(const char *ca_file, char why[WIRE_WHY_SIZE])
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
		end_for_want_of("memory");
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* What has not been sent grows meanwhile, and may move. */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	ERR_clear_error();
	errno = 0;
	if (*ca_file ? SSL_CTX_load_verify_file(context, ca_file) == 1 : trust_system(context))
		return context;
	if (!*ca_file)
		snprintf(why, WIRE_WHY_SIZE,
			 "redis_ca: the system's certificates are not to be found");
	else if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SYS)
		snprintf(why, WIRE_WHY_SIZE, "redis_ca: cannot read it: %s",
			 strerror(ERR_GET_REASON(ERR_peek_error())));
	else
		snprintf(why, WIRE_WHY_SIZE, "redis_ca: it holds no certificate in PEM: %s",
			 openssl_reason());
	SSL_CTX_free(context);
	return NULL;
}

struct redis_server *redis_server_new(const char *url, const char *ca_file, char why[WIRE_WHY_SIZE])
{
	struct redis_server *server = xcalloc(1, sizeof(*server));
	const char *fault = redis_url_fault(url, &server->url);

	if (fault)
		snprintf(why, WIRE_WHY_SIZE, "redis_url: %s", *fault ? fault : "it is none");
	else if (server->url.is_tls)
		server->trust = trust_new(ca_file, why);
	if (!fault && (server->trust || !server->url.is_tls))
		return server;
	free(server);
	return NULL;
}

void redis_server_free(struct redis_server *server)
{
	if (!server)
		return;
	SSL_CTX_free(server->trust);
	free(server);
}

static bool is_address(const char *host)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

void wire_secure(struct wire *wire, const struct redis_server *server)
{
	const char *host = server->url.host;
	BIO *bio;
	bool is_set;

	if (!server->trust)
		return;
	wire->tls = SSL_new(server->trust);
	bio = BIO_new_fd(wire->fd, BIO_NOCLOSE);
	if (!wire->tls || !bio)
		end_for_want_of("memory");
	SSL_set_bio(wire->tls, bio, bio);
	SSL_set_connect_state(wire->tls);
	SSL_set_hostflags(wire->tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (is_address(host))
		is_set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(wire->tls), host) == 1;
	else
		is_set = SSL_set1_host(wire->tls, host) == 1 &&
			 SSL_set_tlsext_host_name(wire->tls, host) == 1;
	if (!is_set) /* then nothing may be sent */
		snprintf(wire->why, WIRE_WHY_SIZE, "TLS: the host's name cannot be verified");
}

void wire_close(struct wire *wire)
{
	if (wire->fd >= 0)
		close(wire->fd);
	wire->fd = -1;
}

void wire_free(struct wire *wire)
{
	SSL_free(wire->tls);
	free(wire->unsent);
}

void wire_append(struct wire *wire, const char *bytes, size_t len)
{
	size_t size = wire->unsent_size ? wire->unsent_size : 4096;

	while (size < wire->unsent_len + len)
		size *= 2;
	if (size > wire->unsent_size)
		wire->unsent = xreallocarray(wire->unsent, size, 1);
	wire->unsent_size = size;
	memcpy(wire->unsent + wire->unsent_len, bytes, len);
	wire->unsent_len += len;
}

bool wire_wants_to_send(const struct wire *wire)
{
	return wire->unsent_len > 0 && (!wire->tls || SSL_want_write(wire->tls));
}

bool wire_has_more(const struct wire *wire)
{
	return wire->tls && SSL_has_pending(wire->tls);
}

bool wire_is_secure(const struct wire *wire)
{
	return !wire->tls || SSL_is_init_finished(wire->tls);
}

/* No old error is to be taken for a new one. */
static void forget_errors(void)
{
	ERR_clear_error();
	errno = 0;
}

/* What OpenSSL has come to, as of recv(2): bytes; 0: the other side has ended it; -1 with errno,
 * and `why` if it was TLS that has failed. */
static ssize_t outcome(struct wire *wire, int result)
{
	int saved = errno, error = SSL_get_error(wire->tls, result);
	long verified = SSL_get_verify_result(wire->tls);

	errno = error == SSL_ERROR_SYSCALL ? saved : EAGAIN;
	if (result > 0)
		return result;
	if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && saved == 0))
		return 0;
	if (error == SSL_ERROR_SSL && verified != X509_V_OK)
		snprintf(wire->why, WIRE_WHY_SIZE, "TLS: certificate verify failed: %s",
			 X509_verify_cert_error_string(verified));
	else if (error == SSL_ERROR_SSL)
		snprintf(wire->why, WIRE_WHY_SIZE, "TLS: %s", openssl_reason());
	return -1;
}

static ssize_t send_some(struct wire *wire, const char *bytes, size_t len)
{
	forget_errors();
	return wire->tls ? outcome(wire, SSL_write(wire->tls, bytes, (int)len))
			 : send(wire->fd, bytes, len, MSG_NOSIGNAL);
}

void wire_flush(struct wire *wire)
{
	size_t sent = 0;
	ssize_t count = 1;

	while (count > 0 && sent < wire->unsent_len && !wire->why[0]) {
		count = send_some(wire, wire->unsent + sent, wire->unsent_len - sent);
		if (count > 0)
			sent += (size_t)count;
		else if (count == 0 || errno == EPIPE || errno == ECONNRESET)
			sent = wire->unsent_len; /* what is still to be read says why */
		else if (errno != EAGAIN)
			snprintf(wire->why, WIRE_WHY_SIZE, "cannot send: %s", uv_strerror(-errno));
	}
	wire->unsent_len -= sent;
	if (wire->unsent_len > 0) {
		memmove(wire->unsent, wire->unsent + sent, wire->unsent_len);
	} else {
		free(wire->unsent);
		wire->unsent = NULL;
		wire->unsent_size = 0;
	}
}

size_t wire_receive(struct wire *wire, char *out, size_t size)
{
	ssize_t count;

	if (wire->why[0])
		return 0;
	forget_errors();
	count = wire->tls ? outcome(wire, SSL_read(wire->tls, out, (int)size))
			  : recv(wire->fd, out, size, 0);
	if (count > 0)
		return (size_t)count;
	if (count == 0)
		snprintf(wire->why, WIRE_WHY_SIZE, "Redis closed the connection%s",
			 wire_is_secure(wire) ? "" : " instead of TLS");
	else if (errno != EAGAIN && !wire->why[0])
		snprintf(wire->why, WIRE_WHY_SIZE, "cannot receive: %s", uv_strerror(-errno));
	return 0;
}
