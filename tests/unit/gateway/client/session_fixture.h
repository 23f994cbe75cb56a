/*
 * For tests of sessions: seats that stand in for libwebsockets and the kernel, and nothing behind
 * what a session tells others. Include it once, in the test program.
 */
#ifndef TESTS_UNIT_SESSION_FIXTURE_H
#define TESTS_UNIT_SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/uio.h>

#include "gateway/client/client_internal.h"
#include "gateway/client/delivery.h"
#include "shared/contract/message.h"
#include "gateway/client/peer.h"
#include "gateway/client/replay.h"
#include "gateway/client/session.h"
#include "shared/base/alloc.h"

enum { SEATS = 24 };

struct bytes {
	char *at;
	size_t len;
};

static inline void append(struct bytes *bytes, const char *more, size_t len)
{
	if (len == 0)
		return;
	bytes->at = xreallocarray(bytes->at, bytes->len + len, 1);
	memcpy(bytes->at + bytes->len, more, len);
	bytes->len += len;
}

/* A connection, and what stands in for libwebsockets and its kernel. */
struct lws {
	struct session *session; /* NULL: nobody sits here */
	size_t room; /* in the kernel's buffer */
	struct bytes wire, held;
	bool wants_write, is_paused, owes_pong, is_closed, is_dropped;
	int close_code, pings, unread;

	/* What the test knows of who sits there. */
	int topic;
	bool with_id, is_stream;
	int64_t user_id, joined_at;
};

static struct lws seats[SEATS];

static struct clients clients;
static struct counters counters;
static struct config limits = {
	.outbox_max_frames = 1000000,
	.outbox_max_bytes = 1 << 30,
	.handshake_timeout_ms = 10000,
};

/* All that sessions need, but for a feed and its fan-out. */
static inline void open_clients(void)
{
	clients.config = &limits;
	clients.counters = &counters;
	clients.pool.max_bytes = 1 << 30;
	clients.audience = audience_new(NULL);
	clients.auth_ok = frame_of_text(MESSAGE_AUTH_OK);
	pending_list_init(&clients.pending);
}

static inline void close_clients(void)
{
	frame_release(clients.auth_ok);
	audience_free(clients.audience);
}

/* Nobody sits there any more. */
static inline void vacate(struct lws *peer)
{
	session_free(peer->session);
	free(peer->wire.at);
	free(peer->held.at);
	*peer = (struct lws){0};
}

/* What session.c calls of files that are not linked. */

static inline void take(struct lws *peer, const char *bytes, size_t len)
{
	append(&peer->wire, bytes, len);
	peer->room -= len;
}

bool peer_is_idle(struct lws *peer)
{
	return peer->held.len == 0;
}

int peer_fd(struct lws *peer)
{
	return (int)(peer - seats);
}

void peer_prefetch(struct lws *peer)
{
	(void)peer;
}

ssize_t peer_write(int fd, const char *bytes, size_t len)
{
	struct lws *peer = &seats[fd];
	size_t taken = len < peer->room ? len : peer->room;

	assert_true(peer_is_idle(peer) && !peer->is_closed && !peer->is_dropped);
	take(peer, bytes, taken);
	return (ssize_t)taken;
}

ssize_t peer_write_pieces(int fd, struct iovec *pieces, size_t count)
{
	ssize_t taken = 0;

	for (size_t i = 0; i < count; i++) {
		ssize_t one = peer_write(fd, pieces[i].iov_base, pieces[i].iov_len);

		taken += one;
		if (one < (ssize_t)pieces[i].iov_len)
			break;
	}
	return taken;
}

bool peer_hold(struct lws *peer, const char *bytes, size_t len)
{
	assert_false(peer->session->transport == TRANSPORT_STREAM); /* it has no use for it */
	append(&peer->held, bytes, len);
	return true;
}

void peer_pause_reading(struct lws *peer, bool pause)
{
	if (peer->session->transport == TRANSPORT_STREAM)
		return;
	assert_int_not_equal(peer->is_paused, pause);
	peer->is_paused = pause;
}

bool peer_ping(struct lws *peer)
{
	assert_true(peer_is_idle(peer) && !peer->is_closed && !peer->is_dropped);
	peer->pings++;
	return true;
}

int peer_unread(int fd)
{
	return seats[fd].unread;
}

void peer_want_write(struct lws *peer)
{
	peer->wants_write = true;
}

bool peer_close(struct lws *peer, uint16_t code, const char *reason)
{
	(void)reason;
	assert_true(peer_is_idle(peer) && !peer->is_paused);
	peer->close_code = code;
	peer->is_closed = true;
	return true;
}

void peer_drop(struct lws *peer)
{
	peer->is_dropped = true;
}

struct replay *replay_start(struct replays *replays, struct session *session, int64_t after_id,
			    struct client_position *client)
{
	(void)replays;
	(void)after_id;
	assert_null(client);
	return (struct replay *)session; /* which never goes on */
}

enum replay_outcome replay_proceed(struct replay *replay, enum delivery *delivery)
{
	(void)replay;
	(void)delivery;
	abort();
}

enum replay_outcome replay_pass(struct replay *replay, const struct batch *batch, size_t first,
				enum delivery *delivery)
{
	(void)replay;
	(void)batch;
	(void)first;
	*delivery = DELIVERY_SENT;
	return REPLAY_GOES_ON;
}

static enum replay_outcome checked = REPLAY_GOES_ON; /* then */

enum replay_outcome replay_check(const struct replay *replay)
{
	(void)replay;
	return checked;
}

void replay_continue(struct replay *replay)
{
	(void)replay;
}

void replay_stop(struct replay *replay)
{
	(void)replay;
}

void tally_add(struct tally *tally, int fd, const struct client_address *address)
{
	(void)tally;
	(void)fd;
	(void)address;
}

void tally_remove(struct tally *tally, int fd)
{
	(void)tally;
	(void)fd;
}

uint32_t presence_join(struct presence *presence, const char *topic, size_t topic_len,
		       int64_t user_id, int64_t expires_s, const struct client_address *address,
		       enum transport transport)
{
	(void)presence;
	(void)topic;
	(void)topic_len;
	(void)user_id;
	(void)expires_s;
	(void)address;
	(void)transport;
	return 0;
}

void presence_renew(struct presence *presence, uint32_t slot, int64_t expires_s)
{
	(void)presence;
	(void)slot;
	(void)expires_s;
}

void presence_leave(struct presence *presence, uint32_t slot)
{
	(void)presence;
	(void)slot;
}

void presence_set_audience(struct presence *presence, struct presence_audience audience)
{
	(void)presence;
	(void)audience;
}

/* The client reads that much: what is held goes first, then a pong that is owed, then it is our
 * turn. */
static inline void drain(struct lws *peer, size_t room)
{
	size_t held = peer->held.len < room ? peer->held.len : room;

	peer->room = room;
	take(peer, peer->held.at, held);
	peer->held.len -= held;
	if (held > 0)
		memmove(peer->held.at, peer->held.at + held, peer->held.len);
	if (peer->held.len > 0)
		return;
	if (peer->owes_pong && peer->room >= 2) {
		take(peer, "\x8A\0", 2);
		peer->owes_pong = false;
		return;
	}
	if (peer->wants_write && peer->room > 0) {
		peer->wants_write = false;
		session_on_writable(peer->session);
	}
}

#endif
