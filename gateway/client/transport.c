/*
 * The callback of libwebsockets, see transport.h: a switch of one-line calls. State: its context,
 * and the newcomer while it is being adopted. Never blocks.
 *
 * The user data of a connection is its session, from its adoption until the connection is gone.
 */
#include "gateway/client/transport.h"

#include <fcntl.h>
#include <libwebsockets.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/client/conversation.h"
#include "shared/base/alloc.h"

enum {
	/* Each connection has a receive buffer of this size. It is small, because most connections
	 * are idle; longer messages come in pieces. It must hold a control frame (125 bytes). */
	RECEIVE_BYTES = 256,
	SEND_BYTES = 1 << 30, /* do not cut what is written */
	CLOSE_ACK_LIMIT_S = 5,
	CLOSING_TURNS = 1000,
	SPARE_DESCRIPTORS = 12 /* what its start and the wake-up need, and some */
};

struct transports {
	struct uv_loop_s *loop;
	struct clients *clients;
	struct lws_context *context;
	struct lws_vhost *vhost;
	const struct newcomer *newcomer;
};

/* Returns 0 to go on, -1 to close the connection. */
static int on_event(struct lws *peer, enum lws_callback_reasons reason, void *user, void *in,
		    size_t len)
{
	struct session *session = user;
	struct transports *transports;

	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RAW_ADOPT:
		transports = lws_context_user(lws_get_context(peer));
		lws_set_wsi_user(peer,
				 session_new(transports->clients, peer, transports->newcomer));
		break;
	case LWS_CALLBACK_RECEIVE:
		if (!session)
			return -1;
		conversation_on_message(session, in, len, !lws_frame_is_binary(peer),
					lws_is_final_fragment(peer) &&
						lws_remaining_packet_payload(peer) == 0);
		break;
	case LWS_CALLBACK_RAW_RX:
		if (session)
			conversation_on_body(session, in, len);
		break;
	case LWS_CALLBACK_RECEIVE_PONG:
		if (session)
			conversation_on_pong(session);
		break;
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_RAW_WRITEABLE:
		if (session)
			session_on_writable(session);
		break;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		if (session)
			conversation_on_close(session, in, len);
		return -1;
	case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL: /* the client has broken it, for example */
		if (session)
			session_on_closing(session);
		break;
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_RAW_CLOSE:
	case LWS_CALLBACK_WSI_DESTROY:
		lws_set_wsi_user(peer, NULL);
		session_free(session);
		break;
	default:
		break;
	}
	return 0;
}

#define STREAM "stream"

static const struct lws_protocols protocols[] = {
	{.name = "push",
	 .callback = on_event,
	 .id = TRANSPORT_WEBSOCKET,
	 .rx_buffer_size = RECEIVE_BYTES,
	 .tx_packet_size = SEND_BYTES},
	{.name = STREAM, .callback = on_event, .id = TRANSPORT_STREAM},
	{.name = NULL},
};

/* Pings and silence are the session's business. */
static const lws_retry_bo_t no_keepalive;

/* When libwebsockets lacks a descriptor as it starts, it unloads its libuv plugin while the loop
 * has handles of it yet to close. */
static bool has_descriptors(void)
{
	int fds[SPARE_DESCRIPTORS], count = 0;

	while (count < SPARE_DESCRIPTORS &&
	       (fds[count] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
		count++;
	for (int i = 0; i < count; i++)
		close(fds[i]);
	return count == SPARE_DESCRIPTORS;
}

struct transports *transports_open(struct uv_loop_s *loop, struct clients *clients)
{
	struct transports *transports = xcalloc(1, sizeof(*transports));
	void *loops[] = {loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.user = transports,
		.pcontext = &transports->context,
		.foreign_loops = loops,
		.gid = -1,
		.uid = -1,
		/* LWS_SERVER_OPTION_VALIDATE_UTF8 lets a character pass that an empty last fragment
		 * cuts off, and takes pongs for text: conversation.c checks instead. */
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.timeout_secs = CLOSE_ACK_LIMIT_S,
		.retry_and_idle_policy = &no_keepalive,
		.vhost_name = "push",
	};

	lws_set_log_level(0, NULL); /* its messages can contain what clients sent */
	transports->loop = loop;
	transports->clients = clients;
	if (has_descriptors())
		transports->context = lws_create_context(&info);
	if (transports->context)
		transports->vhost = lws_create_vhost(transports->context, &info);
	if (transports->vhost)
		return transports;
	transports_close(transports);
	return NULL;
}

void transports_close(struct transports *transports)
{
	if (!transports)
		return;
	if (transports->context)
		lws_context_destroy(transports->context);
	for (int i = 0; i < CLOSING_TURNS && uv_run(transports->loop, UV_RUN_NOWAIT); i++)
		;
	/* Its handles have closed: the rest of it goes now, in up to two more steps, which set
	 * transports->context to NULL. */
	for (int i = 0; i < 2 && transports->context; i++)
		lws_context_destroy(transports->context);
	free(transports);
}

void transports_adopt(struct transports *transports, int fd, char *bytes, size_t len,
		      const struct newcomer *newcomer)
{
	lws_sock_file_fd_type socket = {.sockfd = fd};
	struct lws *peer = NULL;

	transports->newcomer = newcomer;
	if (newcomer->transport == TRANSPORT_WEBSOCKET)
		lws_adopt_socket_vhost_readbuf(transports->vhost, fd, bytes, len);
	else
		peer = lws_adopt_descriptor_vhost(transports->vhost, LWS_ADOPT_SOCKET, socket,
						  STREAM, NULL);
	transports->newcomer = NULL;
	if (peer)
		conversation_on_body(lws_wsi_user(peer), bytes, len);
}
