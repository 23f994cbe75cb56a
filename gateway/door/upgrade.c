/*
 * Opening handshakes, see upgrade.h. State: a list of the connections whose request is not
 * complete, or whose refusal has not been taken yet. Never blocks. Most requests are there as soon
 * as they are accepted: they are judged on the stack and never enter the list.
 */
#include "gateway/door/upgrade.h"

#include <errno.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/door/admission.h"
#include "gateway/client/deadlines.h"
#include "gateway/client/pending.h"
#include "gateway/gateway.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	FIRST_SIZE = 512,
	REFUSED_LIMIT_MS = 2000, /* for the client to take its refusal and go */
	REFUSED_MAX_BYTES = 65536 /* bytes that a refused client may still send */
};

struct upgrade {
	uv_poll_t poll;
	struct deadline deadline;
	struct upgrade *next, *previous;
	struct upgrades *owner;
	struct pending pending;
	struct client_address peer;
	int fd;
	bool is_refused;
	size_t len, size;
	char *bytes; /* `size` of them, grown as they come */
};

struct upgrades {
	struct gateway *gateway;
	struct deadlines *deadlines;
	struct upgrade *first;
};

struct upgrades *upgrades_new(struct gateway *gateway)
{
	struct upgrades *upgrades = xcalloc(1, sizeof(*upgrades));

	upgrades->gateway = gateway;
	upgrades->deadlines = deadlines_new(clock_monotonic_ms());
	return upgrades;
}

static void free_upgrade(uv_handle_t *handle)
{
	struct upgrade *upgrade = handle->data;

	free(upgrade->bytes);
	free(upgrade);
}

/* Takes it out of the list; `fd` stays open if somebody else has it now. */
static void end(struct upgrade *upgrade, bool close_fd)
{
	struct upgrades *upgrades = upgrade->owner;

	deadlines_clear(upgrades->deadlines, &upgrade->deadline);
	pending_remove(clients_pending(upgrades->gateway->clients), &upgrade->pending);
	if (upgrade->next)
		upgrade->next->previous = upgrade->previous;
	if (upgrade->previous)
		upgrade->previous->next = upgrade->next;
	else
		upgrades->first = upgrade->next;
	uv_poll_stop(&upgrade->poll);
	if (close_fd)
		close(upgrade->fd);
	uv_close((uv_handle_t *)&upgrade->poll, free_upgrade);
}

void upgrades_free(struct upgrades *upgrades)
{
	if (!upgrades)
		return;
	while (upgrades->first)
		end(upgrades->first, true);
	deadlines_free(upgrades->deadlines);
	free(upgrades);
}

/* Writes what fits into the kernel's buffer, which is all of it. */
static bool write_refusal(int fd, const struct refusal *refusal)
{
	char response[REFUSAL_SIZE];
	size_t len = refusal_write(refusal, response, sizeof(response));

	return send(fd, response, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

/* Writes the refusal and half-closes. What the client still sends must be read, or the kernel would
 * reset the connection and the refusal with it. */
static void refuse(struct gateway *gateway, int fd, const struct refusal *refusal)
{
	refusals_count(gateway->refusals, refusal->cause);
	if (write_refusal(fd, refusal))
		shutdown(fd, SHUT_WR);
}

enum outcome { WAITS, ADOPTED, REFUSED, GONE };

/* Looks at the bytes that have come so far. */
static enum outcome proceed(struct gateway *gateway, int fd, struct client_address peer,
			    const char *bytes, size_t len)
{
	struct handshake handshake;
	const struct refusal *refusal = &refusal_malformed;

	switch (handshake_parse(bytes, len, &handshake)) {
	case HANDSHAKE_INCOMPLETE:
		if (len < HANDSHAKE_MAX_BYTES)
			return WAITS;
		refusal = &refusal_too_long;
		break;
	case HANDSHAKE_WHOLE:
		refusal = admission_judge(gateway, fd, peer, &handshake, bytes, len);
		if (!refusal)
			return ADOPTED;
		break;
	case HANDSHAKE_MALFORMED:
		break;
	}
	refuse(gateway, fd, refusal);
	return REFUSED;
}

/* Reads once; *len is what is there now. */
static enum outcome receive(struct gateway *gateway, int fd, struct client_address peer,
			    char *bytes, size_t size, size_t *len)
{
	ssize_t got = recv(fd, bytes + *len, size - *len, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return WAITS;
	if (got <= 0) {
		refusals_count(gateway->refusals, COUNT_REFUSED_GONE);
		return GONE;
	}
	*len += (size_t)got;
	return proceed(gateway, fd, peer, bytes, *len);
}

/* A refused client: what it sends is discarded until it closes. */
static bool drain(struct upgrade *upgrade)
{
	char nothing[4096];
	ssize_t got = recv(upgrade->fd, nothing, sizeof(nothing), MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	upgrade->len += (size_t)got;
	return got > 0 && upgrade->len < REFUSED_MAX_BYTES;
}

static void wait_for_close(struct upgrade *upgrade)
{
	upgrade->is_refused = true;
	upgrade->len = 0;
	pending_put(clients_pending(upgrade->owner->gateway->clients), &upgrade->pending,
		    PENDING_LEAVING);
	deadlines_set(upgrade->owner->deadlines, &upgrade->deadline,
		      clock_monotonic_ms() + REFUSED_LIMIT_MS);
}

static void make_room(struct upgrade *upgrade)
{
	if (upgrade->len < upgrade->size)
		return;
	upgrade->size = upgrade->size ? upgrade->size * 2 : FIRST_SIZE;
	if (upgrade->size > HANDSHAKE_MAX_BYTES)
		upgrade->size = HANDSHAKE_MAX_BYTES;
	upgrade->bytes = xreallocarray(upgrade->bytes, upgrade->size, 1);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct upgrade *upgrade = poll->data;

	(void)status;
	(void)events;
	if (upgrade->is_refused) {
		if (!drain(upgrade))
			end(upgrade, true);
		return;
	}
	/* libwebsockets polls the same descriptor: ours must be out of the way first. */
	uv_poll_stop(poll);
	make_room(upgrade);
	switch (receive(upgrade->owner->gateway, upgrade->fd, upgrade->peer, upgrade->bytes,
			upgrade->size, &upgrade->len)) {
	case WAITS:
		break;
	case REFUSED:
		wait_for_close(upgrade);
		break;
	case ADOPTED:
		end(upgrade, false);
		return;
	case GONE:
		end(upgrade, true);
		return;
	}
	uv_poll_start(poll, UV_READABLE, on_readable);
}

static void keep(struct gateway *gateway, int fd, struct client_address peer, const char *bytes,
		 size_t len, bool is_refused)
{
	struct upgrades *upgrades = gateway->upgrades;
	struct upgrade *upgrade = xcalloc(1, sizeof(*upgrade));

	upgrade->owner = upgrades;
	upgrade->fd = fd;
	upgrade->peer = peer;
	upgrade->pending.kind = PENDING_HANDSHAKE;
	pending_put(clients_pending(gateway->clients), &upgrade->pending, PENDING_WAITING);
	if (len > 0)
		upgrade->bytes = xstrndup(bytes, len);
	upgrade->len = upgrade->size = len;
	upgrade->next = upgrades->first;
	if (upgrade->next)
		upgrade->next->previous = upgrade;
	upgrades->first = upgrade;
	uv_poll_init(gateway->loop, &upgrade->poll, fd);
	upgrade->poll.data = upgrade;
	uv_poll_start(&upgrade->poll, UV_READABLE, on_readable);
	if (is_refused)
		wait_for_close(upgrade);
	else
		deadlines_set(upgrades->deadlines, &upgrade->deadline,
			      clock_monotonic_ms() + gateway->config->handshake_timeout_ms);
}

void upgrade_begin(void *context, int fd, const struct sockaddr *peer)
{
	struct gateway *gateway = context;
	struct client_address address = client_address_of_peer(peer);
	char bytes[HANDSHAKE_MAX_BYTES];
	size_t len = 0;

	switch (receive(gateway, fd, address, bytes, sizeof(bytes), &len)) {
	case WAITS:
		keep(gateway, fd, address, bytes, len, false);
		break;
	case REFUSED:
		keep(gateway, fd, address, bytes, 0, true);
		break;
	case GONE:
		close(fd);
		break;
	case ADOPTED:
		break;
	}
	admission_make_room(gateway);
}

/* Ends it for lack of time or room. A client that has said nothing is told nothing: it may be a
 * browser that opened the connection for later. */
static void turn_away(struct upgrade *upgrade, const struct refusal *refusal)
{
	if (!upgrade->is_refused) {
		refusals_count(upgrade->owner->gateway->refusals, refusal->cause);
		if (upgrade->len > 0)
			write_refusal(upgrade->fd, refusal);
	}
	end(upgrade, true);
}

void upgrade_give_way(struct pending *pending)
{
	char *start = (char *)pending - offsetof(struct upgrade, pending);

	turn_away((struct upgrade *)(void *)start, &refusal_pending_full);
}

bool upgrades_pending(const struct upgrades *upgrades)
{
	return upgrades->first != NULL;
}

void upgrades_on_deadlines(struct upgrades *upgrades)
{
	int64_t now_ms = clock_monotonic_ms();
	struct deadline *due;

	while ((due = deadlines_pop(upgrades->deadlines, now_ms))) {
		char *start = (char *)due - offsetof(struct upgrade, deadline);
		struct upgrade *upgrade = (struct upgrade *)(void *)start;

		turn_away(upgrade, &refusal_timeout);
	}
}
