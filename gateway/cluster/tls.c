/*
 * TLS in memory, see tls.h. State: OpenSSL's, and why it has failed. OpenSSL's queue of errors is
 * emptied before each call and read after it, so that no old error is taken for a new one.
 */
#include "gateway/cluster/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "shared/base/alloc.h"

struct tls {
	SSL *ssl;
	BIO *input, *output; /* the SSL's own */
	char why[TLS_WHY_SIZE]; /* "": it has not failed */
};

static _Noreturn void out_of_memory(void)
{
	fputs("out of memory\n", stderr);
	abort();
}

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

SSL_CTX *tls_context_new(const char *ca_file, char why[TLS_WHY_SIZE])
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
		out_of_memory();
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	ERR_clear_error();
	errno = 0;
	if (*ca_file ? SSL_CTX_load_verify_file(context, ca_file) == 1 : trust_system(context))
		return context;
	if (!*ca_file)
		snprintf(why, TLS_WHY_SIZE, "the system's certificates are not to be found");
	else if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SYS)
		snprintf(why, TLS_WHY_SIZE, "cannot read it: %s",
			 strerror(ERR_GET_REASON(ERR_peek_error())));
	else
		snprintf(why, TLS_WHY_SIZE, "it holds no certificate in PEM: %s", openssl_reason());
	SSL_CTX_free(context);
	return NULL;
}

static bool is_address(const char *host)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

struct tls *tls_new(SSL_CTX *context, const char *host)
{
	struct tls *tls = xcalloc(1, sizeof(*tls));
	bool is_set;

	tls->ssl = SSL_new(context);
	tls->input = BIO_new(BIO_s_mem());
	tls->output = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->input || !tls->output)
		out_of_memory();
	SSL_set_bio(tls->ssl, tls->input, tls->output);
	SSL_set_connect_state(tls->ssl);
	SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (is_address(host))
		is_set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), host) == 1;
	else
		is_set = SSL_set1_host(tls->ssl, host) == 1 &&
			 SSL_set_tlsext_host_name(tls->ssl, host) == 1;
	if (!is_set) /* then nothing may be sent */
		snprintf(tls->why, sizeof(tls->why), "TLS: the host's name cannot be verified");
	return tls;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

/* After a call that returned `result`: does it want more input, or has it failed? */
static bool has_failed(struct tls *tls, int result)
{
	int error = SSL_get_error(tls->ssl, result);
	long verified = SSL_get_verify_result(tls->ssl);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return false;
	if (error == SSL_ERROR_ZERO_RETURN)
		snprintf(tls->why, sizeof(tls->why), "Redis has ended TLS");
	else if (verified != X509_V_OK)
		snprintf(tls->why, sizeof(tls->why), "TLS: certificate verify failed: %s",
			 X509_verify_cert_error_string(verified));
	else
		snprintf(tls->why, sizeof(tls->why), "TLS: %s", openssl_reason());
	return true;
}

enum tls_state tls_handshake(struct tls *tls)
{
	int result;

	if (tls->why[0])
		return TLS_FAILED;
	ERR_clear_error();
	result = SSL_do_handshake(tls->ssl);
	if (result == 1)
		return TLS_OPEN;
	return has_failed(tls, result) ? TLS_FAILED : TLS_HANDSHAKE;
}

void tls_feed(struct tls *tls, const char *bytes, size_t len)
{
	size_t written;

	if (len > 0 && (BIO_write_ex(tls->input, bytes, len, &written) != 1 || written != len))
		out_of_memory();
}

size_t tls_read(struct tls *tls, char *out, size_t size)
{
	size_t len = 0;

	if (tls->why[0])
		return 0;
	ERR_clear_error();
	if (SSL_read_ex(tls->ssl, out, size, &len) != 1)
		has_failed(tls, 0);
	return len;
}

bool tls_write(struct tls *tls, const char *bytes, size_t len)
{
	size_t written = 0;

	if (tls->why[0])
		return false;
	ERR_clear_error();
	if (len == 0 || (SSL_write_ex(tls->ssl, bytes, len, &written) == 1 && written == len))
		return true;
	if (!has_failed(tls, 0))
		snprintf(tls->why, sizeof(tls->why), "TLS: it cannot write now");
	return false;
}

char *tls_take_output(struct tls *tls, size_t *len)
{
	size_t pending = BIO_ctrl_pending(tls->output);
	char *output;

	*len = 0;
	if (pending == 0)
		return NULL;
	output = xreallocarray(NULL, pending, 1);
	if (BIO_read_ex(tls->output, output, pending, len) != 1)
		out_of_memory();
	return output;
}

const char *tls_why(const struct tls *tls)
{
	return tls->why[0] ? tls->why : NULL;
}
