/* TCP sockets and places, see tcp_socket.h. No state; never blocks. Failures are errno. */
#include "shared/base/tcp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

int tcp_bind(const union socket_address *address, bool is_shared, int backlog)
{
	const int on = 1, off = 0;
	bool is_ipv6 = address->any.sa_family == AF_INET6;
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (is_shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (is_ipv6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, &address->any, is_ipv6 ? sizeof(address->ipv6) : sizeof(address->ipv4)) == 0 &&
	    (backlog == 0 || listen(fd, backlog) == 0))
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

void socket_place(const union socket_address *address, char place[SOCKET_PLACE_SIZE])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (address->any.sa_family == AF_UNIX) {
		snprintf(place, SOCKET_PLACE_SIZE, SOCKET_UNIX_PREFIX "%s", address->path.sun_path);
	} else if (address->any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &address->ipv6.sin6_addr, host, sizeof(host));
		snprintf(place, SOCKET_PLACE_SIZE, "[%s]:%d", host, ntohs(address->ipv6.sin6_port));
	} else {
		inet_ntop(AF_INET, &address->ipv4.sin_addr, host, sizeof(host));
		snprintf(place, SOCKET_PLACE_SIZE, "%s:%d", host, ntohs(address->ipv4.sin_port));
	}
}

void socket_place_of(int fd, char place[SOCKET_PLACE_SIZE])
{
	union socket_address address = {.storage.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(address);

	getsockname(fd, &address.any, &len);
	socket_place(&address, place);
}
