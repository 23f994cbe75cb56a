/*
 * The callback of libwebsockets, see ws.h: a switch of one-line calls. State: its context, and the
 * newcomer while it is being adopted. Never blocks.
 *
 * The user data of a connection is its session: set when the upgrade is done, gone with the
 * connection.
 */
#include "gateway/client/ws.h"

#include <libwebsockets.h>
#include <uv.h>

#include "gateway/gateway.h"
#include "gateway/client/message.h"
#include "gateway/client/session.h"
#include "shared/base/alloc.h"
#include "shared/base/log.h"

enum {
	/* Each connection has a buffer of this size for what it sends: small, because idle ones are
	 * many; longer messages come in pieces. At least a control frame (125 bytes). */
	RECEIVE_BYTES = 256,
	SEND_BYTES = 1 << 30, /* do not cut what is written */
	CLOSE_ACK_LIMIT_S = 5,
	CLOSING_TURNS = 1000
};

struct ws {
	struct gateway *gateway;
	struct lws_context *context;
	struct lws_vhost *vhost;
	const struct ws_newcomer *newcomer;
};

static struct ws *ws_of(struct lws *peer)
{
	return lws_context_user(lws_get_context(peer));
}

static void on_established(struct lws *peer)
{
	struct ws *ws = ws_of(peer);
	const struct ws_newcomer *newcomer = ws->newcomer;

	lws_set_opaque_user_data(peer, session_new(ws->gateway, peer, newcomer->topic,
						   newcomer->topic_len, &newcomer->address));
}

static int on_receive(struct lws *peer, struct session *session, const char *bytes, size_t len)
{
	bool is_final = lws_is_final_fragment(peer) && lws_remaining_packet_payload(peer) == 0;

	session_on_message(session, bytes, len, !lws_frame_is_binary(peer), is_final);
	return 0;
}

static int on_closed(struct lws *peer, struct session *session)
{
	lws_set_opaque_user_data(peer, NULL);
	session_free(session);
	return 0;
}

/* Returns 0 to go on, -1 to close the connection. */
static int on_event(struct lws *peer, enum lws_callback_reasons reason, void *user, void *in,
		    size_t len)
{
	struct session *session;

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED:
		on_established(peer);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		session = lws_get_opaque_user_data(peer);
		return session ? on_receive(peer, session, in, len) : -1;
	case LWS_CALLBACK_RECEIVE_PONG:
		session = lws_get_opaque_user_data(peer);
		if (session)
			session_on_pong(session);
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		session = lws_get_opaque_user_data(peer);
		if (session)
			session_on_writable(session);
		return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		session = lws_get_opaque_user_data(peer);
		if (session)
			session_on_close(session, in, len);
		return -1;
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_WSI_DESTROY:
		return on_closed(peer, lws_get_opaque_user_data(peer));
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{.name = "push",
	 .callback = on_event,
	 .rx_buffer_size = RECEIVE_BYTES,
	 .tx_packet_size = SEND_BYTES},
	{.name = NULL},
};

/* Pings and silence are the session's business. */
static const lws_retry_bo_t no_keepalive;

struct ws *ws_open(struct gateway *gateway)
{
	struct ws *ws = xcalloc(1, sizeof(*ws));
	void *loops[] = {gateway->loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.user = ws,
		.pcontext = &ws->context,
		.foreign_loops = loops,
		.gid = -1,
		.uid = -1,
		/* LWS_SERVER_OPTION_VALIDATE_UTF8 lets a character pass that an empty last fragment
		 * cuts off, and takes pongs for text: session.c does it. */
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.timeout_secs = CLOSE_ACK_LIMIT_S,
		.retry_and_idle_policy = &no_keepalive,
		.vhost_name = "push",
	};

	lws_set_log_level(0, NULL); /* its messages can hold what clients sent */
	ws->gateway = gateway;
	ws->context = lws_create_context(&info);
	if (ws->context)
		ws->vhost = lws_create_vhost(ws->context, &info);
	if (ws->vhost)
		return ws;
	ws_close(ws);
	return NULL;
}

void ws_close(struct ws *ws)
{
	if (!ws)
		return;
	if (ws->context)
		lws_context_destroy(ws->context);
	for (int i = 0; i < CLOSING_TURNS && uv_run(ws->gateway->loop, UV_RUN_NOWAIT); i++)
		;
	/* Its handles have closed: what is left of it goes now, in up to two more steps, and
	 * ws->context is set to NULL. */
	for (int i = 0; i < 2 && ws->context; i++)
		lws_context_destroy(ws->context);
	free(ws);
}

void ws_adopt(struct ws *ws, int fd, const char *request, size_t len,
	      const struct ws_newcomer *newcomer)
{
	ws->newcomer = newcomer;
	lws_adopt_socket_vhost_readbuf(ws->vhost, fd, request, len);
	ws->newcomer = NULL;
}
