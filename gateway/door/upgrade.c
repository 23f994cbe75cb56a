/*
 * Opening handshakes, see upgrade.h. State: a list of the connections whose request is not
 * complete, or whose refusal has not been taken yet; the proxies that are trusted. Never blocks.
 * Most requests are there as soon as they are accepted: they are judged on the stack and never
 * enter the list.
 */
#include "gateway/door/upgrade.h"

#include <errno.h>
#include <sys/queue.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/client/deadlines.h"
#include "gateway/client/pending.h"
#include "gateway/client/websocket.h"
#include "gateway/door/forwarded_for.h"
#include "gateway/door/refusals.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/container_of.h"

enum {
	FIRST_SIZE = 512,
	REFUSED_LIMIT_MS = 2000, /* for the client to take its refusal and go */
	REFUSED_MAX_BYTES = 65536 /* bytes that a refused client may still send */
};

struct upgrade {
	uv_poll_t poll;
	struct deadline deadline;
	LIST_ENTRY(upgrade) entry;
	struct upgrades *owner;
	struct pending pending;
	struct client_address peer;
	int fd;
	bool is_refused;
	size_t len, size;
	char *bytes; /* `size` of them, grown as they come */
};

struct upgrades {
	struct upgrades_parts parts;
	struct trusted_proxies *trusted;
	struct refusals *refusals;
	struct pending_list *pending; /* of all who have not authenticated */
	struct deadlines deadlines;
	LIST_HEAD(, upgrade) list;
};

void upgrades_configure(struct upgrades *upgrades)
{
	trusted_proxies_free(upgrades->trusted);
	upgrades->trusted = trusted_proxies_new(upgrades->parts.admission.config->trusted_proxies);
	upgrades->parts.admission.trusted = upgrades->trusted;
}

struct upgrades *upgrades_open(const struct upgrades_parts *parts)
{
	struct upgrades *upgrades = xcalloc(1, sizeof(*upgrades));

	upgrades->parts = *parts;
	upgrades->refusals = refusals_new(parts->counters);
	upgrades->pending = clients_pending(parts->admission.clients);
	LIST_INIT(&upgrades->list);
	upgrades_configure(upgrades);
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

	deadlines_clear(&upgrades->deadlines, &upgrade->deadline);
	pending_remove(upgrades->pending, &upgrade->pending);
	LIST_REMOVE(upgrade, entry);
	uv_poll_stop(&upgrade->poll);
	if (close_fd)
		close(upgrade->fd);
	uv_close((uv_handle_t *)&upgrade->poll, free_upgrade);
}

void upgrades_end_all(struct upgrades *upgrades)
{
	while (!LIST_EMPTY(&upgrades->list))
		end(LIST_FIRST(&upgrades->list), true);
}

void upgrades_close(struct upgrades *upgrades)
{
	if (!upgrades)
		return;
	upgrades_end_all(upgrades);
	refusals_free(upgrades->refusals);
	trusted_proxies_free(upgrades->trusted);
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
static void refuse(struct upgrade *upgrade, const struct refusal *refusal)
{
	refusals_count(upgrade->owner->refusals, refusal->cause);
	if (write_refusal(upgrade->fd, refusal))
		shutdown(upgrade->fd, SHUT_WR);
}

enum outcome { WAITS, ADOPTED, REFUSED, GONE };

/* Hands the connection to libwebsockets, in a request of known form; NULL when that is done. */
static const struct refusal *adopt(struct upgrade *upgrade, const struct handshake *handshake)
{
	const struct upgrades_parts *parts = &upgrade->owner->parts;
	char topic[TOPIC_MAX_BYTES], request[HANDSHAKE_CANONICAL_SIZE + HANDSHAKE_MAX_BYTES];
	struct newcomer newcomer;
	const struct refusal *refusal =
		admission_judge(&parts->admission, upgrade->peer, handshake, topic, &newcomer);

	if (refusal)
		return refusal;
	size_t request_len = handshake_canonical(handshake, request);
	size_t rest = upgrade->len - handshake->head_len;
	memcpy(request + request_len, upgrade->bytes + handshake->head_len, rest);
	websockets_adopt(parts->websockets, upgrade->fd, request, request_len + rest, &newcomer);
	return NULL;
}

/* Looks at the bytes that have come so far. */
static enum outcome proceed(struct upgrade *upgrade)
{
	struct handshake handshake;
	const struct refusal *refusal = &refusal_malformed;

	switch (handshake_parse(upgrade->bytes, upgrade->len, &handshake)) {
	case HANDSHAKE_INCOMPLETE:
		if (upgrade->len < HANDSHAKE_MAX_BYTES)
			return WAITS;
		refusal = &refusal_too_long;
		break;
	case HANDSHAKE_WHOLE:
		refusal = adopt(upgrade, &handshake);
		if (!refusal)
			return ADOPTED;
		break;
	case HANDSHAKE_MALFORMED:
		break;
	}
	refuse(upgrade, refusal);
	return REFUSED;
}

/* Reads once. */
static enum outcome receive(struct upgrade *upgrade)
{
	ssize_t got = recv(upgrade->fd, upgrade->bytes + upgrade->len, upgrade->size - upgrade->len,
			   MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return WAITS;
	if (got <= 0) {
		refusals_count(upgrade->owner->refusals, COUNT_REFUSED_GONE);
		return GONE;
	}
	upgrade->len += (size_t)got;
	return proceed(upgrade);
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
	pending_put(upgrade->owner->pending, &upgrade->pending, PENDING_LEAVING);
	deadlines_set(&upgrade->owner->deadlines, &upgrade->deadline,
		      clock_monotonic_ms() + REFUSED_LIMIT_MS);
}

static void grow(struct upgrade *upgrade)
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
	grow(upgrade);
	enum outcome outcome = receive(upgrade);
	if (outcome == ADOPTED || outcome == GONE) {
		end(upgrade, outcome == GONE);
		return;
	}
	if (outcome == REFUSED)
		wait_for_close(upgrade);
	uv_poll_start(poll, UV_READABLE, on_readable);
}

/* Copies one from the stack into the list. */
static void keep(const struct upgrade *first, bool is_refused)
{
	struct upgrades *upgrades = first->owner;
	struct upgrade *upgrade = xcalloc(1, sizeof(*upgrade));

	upgrade->owner = upgrades;
	upgrade->fd = first->fd;
	upgrade->peer = first->peer;
	upgrade->pending.kind = PENDING_HANDSHAKE;
	pending_put(upgrades->pending, &upgrade->pending, PENDING_WAITING);
	LIST_INSERT_HEAD(&upgrades->list, upgrade, entry);
	uv_poll_init(upgrades->parts.loop, &upgrade->poll, first->fd);
	upgrade->poll.data = upgrade;
	uv_poll_start(&upgrade->poll, UV_READABLE, on_readable);
	if (is_refused) {
		wait_for_close(upgrade);
		return;
	}
	if (first->len > 0)
		upgrade->bytes = xstrndup(first->bytes, first->len);
	upgrade->len = upgrade->size = first->len;
	deadlines_set(&upgrades->deadlines, &upgrade->deadline,
		      clock_monotonic_ms() +
			      upgrades->parts.admission.config->handshake_timeout_ms);
}

/* Ends it for lack of time or room. A client that has said nothing is told nothing: it may be a
 * browser that opened the connection for later. */
static void turn_away(struct upgrade *upgrade, const struct refusal *refusal)
{
	if (!upgrade->is_refused) {
		refusals_count(upgrade->owner->refusals, refusal->cause);
		if (upgrade->len > 0)
			write_refusal(upgrade->fd, refusal);
	}
	end(upgrade, true);
}

/* Closes those of whom there are too many. Not to be called from a callback of one of them. */
static void make_room(struct upgrades *upgrades)
{
	while (upgrades->pending->count > upgrades->parts.admission.limits->pending) {
		struct pending *first = pending_first(upgrades->pending);

		if (first->kind == PENDING_HANDSHAKE)
			turn_away(container_of(first, struct upgrade, pending),
				  &refusal_pending_full);
		else if (session_give_way(first))
			refusals_log(upgrades->refusals, COUNT_REFUSED_PENDING_FULL);
	}
}

void upgrade_begin(void *context, int fd, const struct sockaddr *peer)
{
	struct upgrades *upgrades = context;
	char bytes[HANDSHAKE_MAX_BYTES];
	struct upgrade first = {.owner = upgrades,
				.fd = fd,
				.peer = client_address_of_peer(peer),
				.bytes = bytes,
				.size = sizeof(bytes)};
	enum outcome outcome = receive(&first);

	if (outcome == GONE)
		close(fd);
	else if (outcome != ADOPTED)
		keep(&first, outcome == REFUSED);
	make_room(upgrades);
}

bool upgrades_pending(const struct upgrades *upgrades)
{
	return !LIST_EMPTY(&upgrades->list);
}

void upgrades_on_tick(struct upgrades *upgrades)
{
	int64_t now_ms = clock_monotonic_ms();
	struct deadline *due;

	while ((due = deadlines_pop(&upgrades->deadlines, now_ms)))
		turn_away(container_of(due, struct upgrade, deadline), &refusal_timeout);
	refusals_tick(upgrades->refusals);
}
