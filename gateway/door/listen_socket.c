/* Listening sockets, see listen_socket.h. No state; never blocks. Failures are errno. */
#include "gateway/door/listen_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/unix_socket.h"

#define UNIX_PREFIX "unix:"

static int bind_and_listen(int family, const struct sockaddr *address, socklen_t len,
			   bool is_shared)
{
	const int on = 1, off = 0;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (is_shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (family == AF_INET6) /* [::] takes IPv4 too */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, address, len) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int listen_ipv4(struct in_addr host, in_port_t port, bool is_shared)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port, .sin_addr = host};

	return bind_and_listen(AF_INET, (struct sockaddr *)&address, sizeof(address), is_shared);
}

static int listen_ipv6(struct in6_addr host, in_port_t port, bool is_shared)
{
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = host};

	return bind_and_listen(AF_INET6, (struct sockaddr *)&address, sizeof(address), is_shared);
}

static void describe_tcp(const char *host, bool is_ipv6, int port,
			 char address[LISTEN_ADDRESS_SIZE])
{
	snprintf(address, LISTEN_ADDRESS_SIZE, is_ipv6 ? "[%s]:%d" : "%s:%d", host, port);
}

/* The configuration has been checked: `host` is "" or an address. */
static int listen_tcp(const char *host, int port, bool is_shared, char address[LISTEN_ADDRESS_SIZE])
{
	struct in6_addr ipv6 = in6addr_any;
	struct in_addr ipv4 = {.s_addr = htonl(INADDR_ANY)};
	in_port_t number = htons((uint16_t)port);
	bool is_any = host[0] == '\0';

	if (is_any || inet_pton(AF_INET6, host, &ipv6) == 1) {
		int fd = listen_ipv6(ipv6, number, is_shared);

		describe_tcp(is_any ? "::" : host, true, port, address);
		if (fd >= 0 || !is_any || errno != EAFNOSUPPORT)
			return fd;
	} else if (inet_pton(AF_INET, host, &ipv4) != 1) {
		errno = EINVAL;
		return -1;
	}
	describe_tcp(is_any ? "0.0.0.0" : host, false, port, address);
	return listen_ipv4(ipv4, number, is_shared);
}

const char *listen_socket_path(const struct config *config)
{
	const size_t len = sizeof(UNIX_PREFIX) - 1;

	return strncmp(config->ws_bind, UNIX_PREFIX, len) == 0 ? config->ws_bind + len : NULL;
}

int listen_socket_open(const struct config *config, bool is_shared,
		       char address[LISTEN_ADDRESS_SIZE])
{
	const char *path = listen_socket_path(config);

	if (!path)
		return listen_tcp(config->ws_bind, (int)config->ws_port, is_shared, address);
	snprintf(address, LISTEN_ADDRESS_SIZE, "%s", config->ws_bind);
	return unix_stream_listen(path, (mode_t)config->ws_socket_mode, LISTEN_BACKLOG);
}

void listen_socket_describe(const struct config *config, int fd, char address[LISTEN_ADDRESS_SIZE])
{
	struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&bound;
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)&bound;
	socklen_t len = sizeof(bound);
	char host[INET6_ADDRSTRLEN] = "";

	getsockname(fd, (struct sockaddr *)&bound, &len);
	if (bound.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &ipv6->sin6_addr, host, sizeof(host));
		describe_tcp(host, true, ntohs(ipv6->sin6_port), address);
	} else if (bound.ss_family == AF_INET) {
		inet_ntop(AF_INET, &ipv4->sin_addr, host, sizeof(host));
		describe_tcp(host, false, ntohs(ipv4->sin_port), address);
	} else {
		snprintf(address, LISTEN_ADDRESS_SIZE, "%s", config->ws_bind);
	}
}
