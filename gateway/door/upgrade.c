/*
 * Opening handshakes, see upgrade.h. State: a list of the connections whose request is not
 * complete, or whose refusal has not been taken yet. Never blocks. Most requests are there as soon
 * as the connection is accepted: they are judged on the stack and never enter the list.
 */
#include "gateway/door/upgrade.h"

#include <errno.h>
#include <sys/queue.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/client/answer.h"
#include "gateway/client/clients.h"
#include "gateway/client/deadlines.h"
#include "gateway/client/pending.h"
#include "gateway/client/transport.h"
#include "gateway/cluster/questions.h"
#include "gateway/door/handshake.h"
#include "gateway/door/scripts.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/container_of.h"
#include "shared/contract/origin.h"

enum {
	REFUSED_LIMIT_MS = 2000, /* for the client to take its refusal and go */
	REFUSED_MAX_BYTES = 65536, /* bytes that a refused client may still send */
	QUESTION_LIMIT_MS = 200 /* for Redis to say whether there is such a topic */
};

struct upgrade {
	uv_poll_t poll;
	struct deadline deadline;
	LIST_ENTRY(upgrade) entry;
	struct upgrades *owner;
	struct pending pending;
	struct client_address peer;
	struct question question; /* open: it waits for what Redis says about its topic */
	int fd;
	bool has_asked, is_refused;
	struct slice unsent; /* of a script */
	size_t len;
	char *bytes; /* of the request, as far as it has come */
};

struct upgrades {
	struct upgrades_parts parts;
	struct refusals refusals;
	struct pending_list *pending; /* of all who have not authenticated */
	struct deadlines deadlines;
	LIST_HEAD(, upgrade) list;
};

struct upgrades *upgrades_open(const struct upgrades_parts *parts)
{
	struct upgrades *upgrades = xcalloc(1, sizeof(*upgrades));

	upgrades->parts = *parts;
	refusals_init(&upgrades->refusals, parts->counters);
	upgrades->pending = clients_pending(parts->judge.clients);
	LIST_INIT(&upgrades->list);
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

	questions_drop(&upgrade->question);
	deadlines_clear(&upgrades->deadlines, &upgrade->deadline);
	pending_remove(upgrades->pending, &upgrade->pending);
	LIST_REMOVE(upgrade, entry);
	uv_close((uv_handle_t *)&upgrade->poll, free_upgrade);
	if (close_fd)
		close(upgrade->fd);
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
	refusals_tick(&upgrades->refusals, true);
	free(upgrades);
}

/* Writes what fits into the kernel's buffer, which is all of it. */
static bool write_refusal(int fd, const struct refusal *refusal, const char *cors, bool is_head)
{
	char response[ANSWER_SIZE];
	size_t len = answer_write(response, refusal->status, refusal->text, cors, !is_head);

	return send(fd, response, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

/* Sends as much of a script as the kernel takes; after the last byte the client learns that there
 * is no more. */
static void send_script(struct upgrade *upgrade)
{
	struct slice *unsent = &upgrade->unsent;
	ssize_t sent = send(upgrade->fd, unsent->at, unsent->len, MSG_NOSIGNAL | MSG_DONTWAIT);

	unsent->at += sent > 0 ? sent : 0;
	unsent->len -= sent > 0 ? (size_t)sent : 0;
	if (unsent->len == 0)
		shutdown(upgrade->fd, SHUT_WR);
}

/* Hands the connection to libwebsockets, an upgrade in a request of known form; NULL when that is
 * done. `cors`: for the head of a stream's answer. */
static const struct refusal *adopt(struct upgrade *upgrade, const struct handshake *handshake,
				   const char *rest, size_t rest_len, const char *cors)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	char topic[TOPIC_MAX_BYTES], request[HANDSHAKE_CANONICAL_SIZE + HANDSHAKE_MAX_BYTES];
	struct newcomer newcomer = {.cors = cors};
	const struct refusal *refusal = judge_request(&upgrade->owner->parts.judge, handshake,
						      upgrade->peer, topic, &newcomer);

	if (refusal)
		return refusal;
	bool is_stream = newcomer.transport == TRANSPORT_STREAM;
	if (is_stream && handshake->expects_100)
		send(upgrade->fd, go_on, strlen(go_on), MSG_NOSIGNAL | MSG_DONTWAIT);
	size_t len = is_stream ? 0 : handshake_canonical(handshake, request);
	memcpy(request + len, rest, rest_len);
	transports_adopt(upgrade->owner->parts.transports, upgrade->fd, request, len + rest_len,
			 &newcomer);
	return NULL;
}

enum outcome { WAITS, ASKS, ADOPTED, REFUSED, GONE };

/* Looks at what has come so far; a refusal is written. */
static enum outcome decide(struct upgrade *upgrade, const char *bytes, size_t len)
{
	const struct refusal *refusal = &refusal_malformed;
	struct handshake handshake;
	char cors[ORIGIN_HEAD_SIZE] = "";
	bool is_head = false;

	switch (handshake_parse(bytes, len, &handshake)) {
	case HANDSHAKE_INCOMPLETE:
		if (len < HANDSHAKE_MAX_BYTES)
			return WAITS;
		refusal = &refusal_too_long;
		break;
	case HANDSHAKE_WHOLE:
		upgrade->unsent = script_answer(&handshake);
		if (upgrade->unsent.at) {
			send_script(upgrade);
			return REFUSED;
		}
		is_head = slice_equals(handshake.method, "HEAD");
		if (handshake_is_for(&handshake, "/stream"))
			origin_head(upgrade->owner->parts.judge.config->allowed_origins,
				    handshake.origin.at, handshake.origin.len, cors);
		refusal = adopt(upgrade, &handshake, bytes + handshake.head_len,
				len - handshake.head_len, cors);
		if (!refusal)
			return ADOPTED;
		if (refusal == &refusal_not_registered && upgrade->owner->parts.questions &&
		    !upgrade->has_asked)
			return ASKS;
		break;
	case HANDSHAKE_MALFORMED:
		break;
	}
	if (refusal->cause)
		refusals_count(&upgrade->owner->refusals, refusal->cause);
	if (write_refusal(upgrade->fd, refusal, cors, is_head))
		shutdown(upgrade->fd, SHUT_WR);
	return REFUSED;
}

/* Reads once, and keeps what has come if more must come, or Redis is to be asked. */
static enum outcome receive(struct upgrade *upgrade)
{
	char bytes[HANDSHAKE_MAX_BYTES];
	ssize_t got =
		recv(upgrade->fd, bytes + upgrade->len, sizeof(bytes) - upgrade->len, MSG_DONTWAIT);
	size_t len = upgrade->len + (size_t)got;
	enum outcome outcome;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return WAITS;
	if (got <= 0) {
		refusals_count(&upgrade->owner->refusals, COUNT_REFUSED_GONE);
		return GONE;
	}
	if (upgrade->len > 0)
		memcpy(bytes, upgrade->bytes, upgrade->len);
	outcome = decide(upgrade, bytes, len);
	if (outcome == WAITS || outcome == ASKS) {
		upgrade->bytes = xreallocarray(upgrade->bytes, len, 1);
		memcpy(upgrade->bytes + upgrade->len, bytes + upgrade->len, (size_t)got);
		upgrade->len = len;
	}
	return outcome;
}

static void on_readable(uv_poll_t *poll, int status, int events);

/* It stays: for the rest of its request, or to take its refusal, or its script. */
static void stay(struct upgrade *upgrade, enum outcome outcome)
{
	bool has_more = upgrade->unsent.len > 0;
	int64_t timeout_ms = upgrade->owner->parts.judge.config->handshake_timeout_ms;

	if (outcome == REFUSED) {
		upgrade->is_refused = true;
		upgrade->len = 0;
		pending_put(upgrade->owner->pending, &upgrade->pending, PENDING_LEAVING);
		deadlines_set(&upgrade->owner->deadlines, &upgrade->deadline,
			      clock_monotonic_ms() + (has_more ? timeout_ms : REFUSED_LIMIT_MS));
	}
	uv_poll_start(&upgrade->poll, UV_READABLE | (has_more ? UV_WRITABLE : 0), on_readable);
}

static void on_answered(struct question *question);

/* It goes, or stays, or asks whether its topic is known elsewhere and meanwhile is not read from.
 */
static void settle(struct upgrade *upgrade, enum outcome outcome)
{
	const struct upgrades_parts *parts = &upgrade->owner->parts;
	struct handshake handshake;
	char topic[TOPIC_MAX_BYTES];
	size_t len;

	if (outcome == ASKS) {
		handshake_parse(upgrade->bytes, upgrade->len, &handshake);
		upgrade->has_asked = true;
		upgrade->question.answered = on_answered;
		if (!handshake_topic(&handshake, topic, &len) &&
		    questions_ask(parts->questions, topic, len, &upgrade->question)) {
			deadlines_set(&upgrade->owner->deadlines, &upgrade->deadline,
				      clock_monotonic_ms() + QUESTION_LIMIT_MS);
			return;
		}
		outcome = decide(upgrade, upgrade->bytes, upgrade->len);
	}
	if (outcome == ADOPTED || outcome == GONE)
		end(upgrade, outcome == GONE);
	else
		stay(upgrade, outcome);
}

/* All is judged again, for in the meantime more than the topic may have changed. */
static void on_answered(struct question *question)
{
	struct upgrade *upgrade = container_of(question, struct upgrade, question);

	settle(upgrade, decide(upgrade, upgrade->bytes, upgrade->len));
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct upgrade *upgrade = poll->data;
	char nothing[4096];

	(void)status;
	(void)events;
	/* What a refused client still sends must be read, or the kernel would reset the connection
	 * and the refusal with it. It is discarded until the client closes. */
	if (upgrade->is_refused) {
		if (upgrade->unsent.len > 0) {
			send_script(upgrade);
			if (upgrade->unsent.len == 0)
				uv_poll_start(poll, UV_READABLE, on_readable);
		}
		ssize_t got = recv(upgrade->fd, nothing, sizeof(nothing), MSG_DONTWAIT);

		upgrade->len += got > 0 ? (size_t)got : 0;
		if (got == 0 || upgrade->len >= REFUSED_MAX_BYTES ||
		    (got < 0 && errno != EAGAIN && errno != EINTR))
			end(upgrade, true);
		return;
	}
	/* libwebsockets polls the same descriptor: ours must be out of the way first. */
	uv_poll_stop(poll);
	settle(upgrade, receive(upgrade));
}

/* Ends it for lack of time or room. A client that has said nothing is told nothing: it may be a
 * browser that opened the connection for later. */
static void turn_away(struct upgrade *upgrade, const struct refusal *refusal)
{
	if (!upgrade->is_refused) {
		refusals_count(&upgrade->owner->refusals, refusal->cause);
		if (upgrade->len > 0)
			write_refusal(upgrade->fd, refusal, "", false);
	}
	end(upgrade, true);
}

void upgrade_begin(struct upgrades *upgrades, int fd, const struct sockaddr *peer)
{
	struct upgrade first = {.owner = upgrades, .fd = fd, .peer = client_address_of_peer(peer)};
	enum outcome outcome = receive(&first);

	if (outcome == GONE) {
		close(fd);
	} else if (outcome != ADOPTED) { /* from the stack into the list */
		struct upgrade *upgrade = xcalloc(1, sizeof(*upgrade));

		*upgrade = first;
		upgrade->pending.kind = PENDING_HANDSHAKE;
		pending_put(upgrades->pending, &upgrade->pending, PENDING_WAITING);
		LIST_INSERT_HEAD(&upgrades->list, upgrade, entry);
		uv_poll_init(upgrades->parts.loop, &upgrade->poll, upgrade->fd);
		upgrade->poll.data = upgrade;
		deadlines_set(&upgrades->deadlines, &upgrade->deadline,
			      clock_monotonic_ms() +
				      upgrades->parts.judge.config->handshake_timeout_ms);
		settle(upgrade, outcome);
	}
	/* When there are too many, some make room. */
	while (upgrades->pending->count > upgrades->parts.judge.limits.pending) {
		struct pending *oldest = pending_first(upgrades->pending);

		if (oldest->kind == PENDING_HANDSHAKE)
			turn_away(container_of(oldest, struct upgrade, pending),
				  &refusal_pending_full);
		else if (session_give_way(oldest))
			refusals_log(&upgrades->refusals, COUNT_REFUSED_PENDING_FULL);
	}
}

bool upgrades_pending(const struct upgrades *upgrades)
{
	return !LIST_EMPTY(&upgrades->list);
}

void upgrades_on_tick(struct upgrades *upgrades)
{
	int64_t now_ms = clock_monotonic_ms();
	struct deadline *due;

	while ((due = deadlines_pop(&upgrades->deadlines, now_ms))) {
		struct upgrade *upgrade = container_of(due, struct upgrade, deadline);

		if (!upgrade->question.is_open) {
			turn_away(upgrade, &refusal_timeout);
			continue;
		}
		questions_drop(&upgrade->question);
		on_answered(&upgrade->question);
	}
	refusals_tick(&upgrades->refusals, false);
}
