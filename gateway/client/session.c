/*
 * Sessions, see session.h. State: in each of them, and the list of all. Never blocks; a connection
 * that cannot be written to is dropped, and the others go on.
 */
#include "gateway/client/session.h"

#include "gateway/client/client_internal.h"
#include "gateway/client/delivery.h"
#include "gateway/client/peer.h"
#include "gateway/client/replay.h"
#include "gateway/client/stream.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/contract/message.h"

enum { SILENCE_LIMIT_MS = 60000, CLOSE_LIMIT_MS = 5000, LONGEST_WAIT_MS = 30000 };

static const int ping_every_ms[TRANSPORTS] = {
	[TRANSPORT_WEBSOCKET] = 30000,
	[TRANSPORT_STREAM] = 15000,
};

static const char *const transports[TRANSPORTS] = {"websocket", "stream"};

/* The log line of log_connections; only while it is in the audience. */
static void note(const struct session *session, const char *what)
{
	char address[CLIENT_ADDRESS_TEXT_SIZE];
	const struct topic *topic = session->member.by_topic.topic;

	if (!session->clients->config->log_connections || !topic)
		return;
	client_address_format(&session->address, address);
	log_event(LOG_INFO, what, log_text("address", address),
		  log_text("transport", transports[session->transport]),
		  log_bytes("topic", topic->name, topic->name_len),
		  log_number("user", session->member.user_id));
}

static struct opening *opening_new(const struct newcomer *newcomer)
{
	const char *cors = newcomer->transport == TRANSPORT_STREAM ? newcomer->cors : "";
	size_t cors_size = strlen(cors) + 1;
	struct opening *opening = xcalloc(1, sizeof(*opening) + newcomer->topic_len + cors_size);
	char *end = mempcpy(opening->topic, newcomer->topic, newcomer->topic_len);

	opening->body = newcomer->body;
	opening->cors = memcpy(end, cors, cors_size);
	opening->topic_len = newcomer->topic_len;
	return opening;
}

struct session *session_new(struct clients *clients, struct lws *peer,
			    const struct newcomer *newcomer)
{
	struct session *session = xcalloc(1, sizeof(*session));

	session->clients = clients;
	session->peer = peer;
	session->fd = peer_fd(peer);
	session->opening = opening_new(newcomer);
	session->address = newcomer->address;
	session->transport = (uint8_t)newcomer->transport;
	session->state = SESSION_WAITING;
	LIST_INSERT_HEAD(&clients->sessions, session, entry);
	clients->session_count++;
	session->pending.kind = PENDING_SESSION;
	pending_put(&clients->pending, &session->pending, PENDING_WAITING);
	tally_add(clients->tally, session->fd, &session->address);
	deadlines_set(&clients->deadlines, &session->deadline,
		      clock_monotonic_ms() + clients->config->handshake_timeout_ms);
	return session;
}

/* Takes it out of everything that could still call it, so nothing new comes to it. */
static void leave(struct session *session, enum ending ending)
{
	struct clients *clients = session->clients;

	if (session->state != SESSION_ENDING)
		clients->counters->counts[session->state == SESSION_WAITING
						  ? ending_rows[ending].unauthenticated
						  : ending_rows[ending].authenticated]++;
	note(session, "disconnected");
	audience_leave(clients->audience, &session->member);
	deadlines_clear(&clients->deadlines, &session->deadline);
	pending_remove(&clients->pending, &session->pending);
	replay_stop(session->replay);
	session->replay = NULL;
	session->owes_ping = false;
	free(session->partial);
	session->partial = NULL;
	session->state = SESSION_ENDING;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	leave(session, ENDING_GONE);
	LIST_REMOVE(session, entry);
	session->clients->session_count--;
	tally_remove(session->clients->tally, session->fd);
	delivery_end(session);
	free(session->opening);
	free(session);
}

void session_drop(struct session *session, enum ending ending)
{
	leave(session, ending);
	session->close_sent = true; /* nothing more is written */
	peer_drop(session->peer);
}

bool session_give_way(struct pending *pending)
{
	struct session *session = container_of(pending, struct session, pending);
	bool was_waiting = session->state == SESSION_WAITING;

	session_end(session, ENDING_PENDING_FULL);
	session_drop(session, ENDING_PENDING_FULL);
	return was_waiting;
}

/* Sends the Close frame when nothing is left to be sent before it. */
static void close_if_drained(struct session *session)
{
	const struct ending_row *row = &ending_rows[session->ending];

	if (session->state != SESSION_ENDING || session->close_sent)
		return;
	if (!delivery_is_done(session)) {
		peer_want_write(session->peer);
		return;
	}
	session->close_sent = true;
	if (!peer_close(session->peer, row->code, row->reason))
		session_drop(session, ENDING_GONE);
}

void session_end(struct session *session, enum ending ending)
{
	const struct ending_row *row = &ending_rows[ending];
	struct frame *last_words = NULL;
	bool was_waiting = session->state == SESSION_WAITING;
	enum delivery delivery = DELIVERY_SENT;

	if (session->state == SESSION_ENDING)
		return;
	leave(session, ending);
	session->ending = (uint8_t)ending;
	if (was_waiting)
		pending_put(&session->clients->pending, &session->pending, PENDING_LEAVING);
	deadlines_set(&session->clients->deadlines, &session->deadline,
		      clock_monotonic_ms() + CLOSE_LIMIT_MS);
	if (session->opening && session->transport == TRANSPORT_STREAM)
		last_words = stream_refusal(row->status, row->text, session->opening->cors);
	else if (row->last_words)
		last_words = frame_of_text(row->last_words);
	if (last_words)
		delivery = delivery_send(session, last_words);
	if (delivery == DELIVERY_FULL) { /* then what waits gives way */
		delivery_clear(session);
		delivery = delivery_send(session, last_words);
	}
	frame_release(last_words);
	if (delivery == DELIVERY_BROKEN)
		session_drop(session, ENDING_GONE);
	else
		close_if_drained(session);
}

void session_end_unsent(struct session *session, enum ending ending)
{
	delivery_clear(session);
	session_end(session, ending);
}

void session_on_closing(struct session *session)
{
	leave(session, ENDING_GONE);
	session->close_sent = true;
}

void session_end_answered(struct session *session, uint16_t code)
{
	bool may_answer = !session->close_sent && !session->held && peer_is_idle(session->peer);

	session_on_closing(session);
	if (may_answer)
		peer_close(session->peer, code, "");
}

static void settle(struct session *session, enum delivery delivery)
{
	if (delivery == DELIVERY_BROKEN)
		session_drop(session, ENDING_GONE);
	else if (delivery == DELIVERY_FULL)
		session_end_unsent(session, ENDING_SLOW);
}

void session_send(struct session *session, struct frame *frame)
{
	settle(session, delivery_send(session, frame));
}

/* One that is behind gets its ping once it has caught up. */
static void ping(struct session *session)
{
	session->owes_ping = !delivery_is_done(session);
	if (session->owes_ping)
		peer_want_write(session->peer);
	else if (!peer_ping(session->peer))
		session_drop(session, ENDING_GONE);
}

void session_on_writable(struct session *session)
{
	enum delivery delivery;

	if (session->close_sent)
		return;
	delivery = delivery_flush(session);
	settle(session, delivery);
	if (delivery == DELIVERY_QUEUED)
		peer_want_write(session->peer);
	if (delivery != DELIVERY_SENT)
		return;
	if (session->owes_ping)
		ping(session);
	close_if_drained(session);
	replay_continue(session->replay);
}

/* Joins the audience; a stream begins. */
static void enter(struct session *session)
{
	struct opening *opening = session->opening;
	struct frame *head = NULL;

	session->opening = NULL;
	audience_join(session->clients->audience, &session->member, opening->topic,
		      opening->topic_len, session->expires_s, &session->address,
		      session->transport);
	session->clients->counters->counts[COUNT_CONNECTION_ACCEPTED]++;
	note(session, "connected");
	session_schedule(session);
	if (session->transport == TRANSPORT_STREAM)
		head = stream_head(opening->cors);
	free(opening);
	if (head)
		session_send(session, head);
	frame_release(head);
}

void session_open(struct session *session, const struct message *message, const struct grant *grant)
{
	struct clients *clients = session->clients;
	int64_t now_ms = clock_monotonic_ms();
	bool from_now = message->resume == MESSAGE_RESUME_FROM_NOW;
	const struct registered_topic *found = &grant->found;
	bool recovered = from_now || found->can_recover;

	session->state = SESSION_OPEN;
	pending_remove(&clients->pending, &session->pending);
	session->member.user_id = grant->claims.user_id;
	session->expires_s = grant->claims.expires_s;
	session->after_id = session->ordered_after_id = found->here.id;
	session->is_resumable = message->resume != MESSAGE_RESUME_NOT_ASKED;
	session->heard_ms = now_ms;
	session->ping_at_ms = now_ms + ping_every_ms[session->transport];
	enter(session);
	if (session->state != SESSION_OPEN)
		return;
	if (!session->is_resumable) {
		session_send(session, clients->auth_ok);
		return;
	}
	/* It gets what it missed, if that is still there. */
	char text[MESSAGE_RESUMED_SIZE];
	message_resumed_write(text, &found->here, recovered);
	struct frame *frame = frame_of_text(text);
	session_send(session, frame);
	frame_release(frame);
	clients->counters->counts[from_now    ? COUNT_RESUME_FROM_NOW
				  : recovered ? COUNT_RESUME_RECOVERED
					      : COUNT_RESUME_LOST]++;
	if (from_now || !recovered || session->state != SESSION_OPEN)
		return;
	struct client_position *client = NULL;
	if (found->here.node != 0) {
		client = xcalloc(1, sizeof(*client));
		client_position_begin(client, &message->last_event_id, found->here.node,
				      found->after_id, found->here.id);
	}
	session->after_id = found->after_id;
	session->replay = replay_start(clients->replays, session, found->after_id, client);
}

static void follow(struct session *session, enum replay_outcome outcome)
{
	if (outcome == REPLAY_DONE) {
		replay_stop(session->replay);
		session->replay = NULL;
	} else if (outcome != REPLAY_GOES_ON) {
		session_end(session, outcome == REPLAY_GAP ? ENDING_PRUNED : ENDING_UNAVAILABLE);
	}
}

void session_replay(struct session *session)
{
	enum delivery delivery;

	follow(session, replay_proceed(session->replay, &delivery));
	settle(session, delivery);
}

void session_deliver(struct session *session, struct batch *batch)
{
	size_t first = batch_first_after(batch, session->after_id);
	bool is_meant = !batch->is_for_user || batch->user_id == session->member.user_id;

	if (batch->kind != EVENT_PUSH && is_meant && batch->order_id > session->ordered_after_id)
		session_end(session, batch->kind == EVENT_UNREGISTER ? ENDING_UNREGISTERED
								     : ENDING_DISCONNECTED);
	if (first == batch->count)
		return; /* it has had it */
	if (session->replay) {
		enum delivery delivery;

		follow(session, replay_pass(session->replay, batch, first, &delivery));
		settle(session, delivery);
		return;
	}
	session->after_id = batch->pushes[batch->count - 1].id;
	const struct joined *joined =
		batch_join(batch, (session->is_resumable ? PUSH_WITH_ID : PUSH_PLAIN) |
					  (session->transport == TRANSPORT_STREAM ? PUSH_AS_EVENT
										  : PUSH_PLAIN));
	settle(session, delivery_send_joined(session, joined, first, batch->count));
}

/* How long until its token expires, LONGEST_WAIT_MS at most; 0 or less: it has. */
static int64_t token_left_ms(const struct session *session)
{
	int64_t now_ms = clock_wall_ms();

	if (session->expires_s == 0 ||
	    session->clients->config->token_expiry == CONFIG_TOKEN_EXPIRY_KEEP ||
	    session->expires_s - now_ms / 1000 >= LONGEST_WAIT_MS / 1000)
		return LONGEST_WAIT_MS;
	return (session->expires_s + 1) * 1000 - now_ms;
}

void session_schedule(struct session *session)
{
	int64_t expiry_ms = clock_monotonic_ms() + token_left_ms(session);

	deadlines_set(&session->clients->deadlines, &session->deadline,
		      expiry_ms < session->ping_at_ms ? expiry_ms : session->ping_at_ms);
}

/* The client of a stream says nothing. It is alive if it has taken all that was written, or some of
 * it since the last time. */
static void listen_to_stream(struct session *session, int64_t now_ms)
{
	int unread = peer_unread(session->fd);

	if (unread == 0 || unread < session->unread)
		session->heard_ms = now_ms;
	session->unread = unread;
}

void session_on_deadline(struct session *session, int64_t now_ms)
{
	if (session->state == SESSION_OPEN && session->transport == TRANSPORT_STREAM)
		listen_to_stream(session, now_ms);
	if (session->state == SESSION_WAITING) {
		session_end(session, ENDING_AUTH_TIMEOUT);
		return;
	}
	if (session->state == SESSION_ENDING || now_ms - session->heard_ms >= SILENCE_LIMIT_MS) {
		session_drop(session, ENDING_SILENT);
		return;
	}
	if (token_left_ms(session) <= 0) {
		session_end(session, ENDING_AUTH_EXPIRED);
		return;
	}
	if (now_ms >= session->ping_at_ms) {
		session->ping_at_ms = now_ms + ping_every_ms[session->transport];
		ping(session);
		if (session->replay) /* perhaps there is nothing left for it to wait for */
			follow(session, replay_check(session->replay));
	}
	if (session->state == SESSION_OPEN)
		session_schedule(session);
}
