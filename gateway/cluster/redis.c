/*
 * A connection to Redis, see redis.h. State: its socket, where it stands, the commands that wait
 * for their answers, and the bytes that wait to be sent. Answers come in the order of the commands,
 * so the only deadline that is watched is that of the first.
 *
 * What is to be done without delay, but not within the caller, is done by an idle handle in the
 * loop's next turn: sending what a turn's commands have written, saying that the connection has
 * ended, going on after a pause.
 */
#include "gateway/cluster/redis.h"

#include <stdarg.h>
#include <sys/queue.h>
#include <uv.h>

#include "gateway/cluster/lookup.h"
#include "gateway/cluster/replies.h"
#include "gateway/cluster/tls.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/contract/redis_url.h"

enum {
	READ_SIZE = 64 * 1024,
	NAME_SIZE = 80,
	/* When a deadline passes, what has come meanwhile is read first: this program itself may
	 * have been late. */
	GRACE_MS = 50,
};

struct redis_server {
	struct redis_url url;
	SSL_CTX *trust; /* NULL: no TLS */
};

struct command {
	STAILQ_ENTRY(command) entry;
	redis_answer *answer;
	void *context;
	char word[16]; /* its first, cut */
	int64_t deadline_ms, due_ms;
	int confirmations; /* that are still to come; of SUBSCRIBE one for each channel */
};

enum state { LOOKING_UP, CONNECTING, SECURING, GREETING, READY, ENDED };

struct redis {
	uv_loop_t *loop;
	const struct redis_server *server;
	struct redis_handlers handlers;
	int64_t deadline_ms;
	char name[NAME_SIZE];
	enum state state;
	char why[REDIS_WHY_SIZE]; /* it ENDED */
	const char *attempt_why; /* the last address was none */
	bool is_told; /* on_end has been called */
	bool is_closed; /* by redis_close: no handler may be called */
	bool is_late; /* the first command's deadline has passed, see GRACE_MS */
	bool is_deaf; /* sending has failed */
	bool is_paused, is_subscriber;
	int64_t paused_ms, heard_ms;

	struct lookup *lookup;
	struct sockaddr_storage addresses[LOOKUP_ADDRESSES_MAX];
	size_t address_count, address_at;

	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	bool has_socket; /* and it is not being closed */
	uv_connect_t connecting;
	uv_write_t writing;
	char *in_flight; /* the bytes of `writing`; NULL: it is free */
	uv_timer_t timer;
	uv_idle_t soon;
	int handles; /* not closed yet */

	struct tls *tls; /* NULL: none */
	struct replies *replies;
	STAILQ_HEAD(, command) commands;
	size_t command_count;
	int greetings; /* commands of the greeting whose answers are to come */
	char *unsent;
	size_t unsent_len, unsent_size;
	char input[READ_SIZE], plain[READ_SIZE];
};

struct redis_server *redis_server_new(const char *url, const char *ca_file,
				      char why[REDIS_WHY_SIZE])
{
	struct redis_server *server = xcalloc(1, sizeof(*server));
	const char *fault = redis_url_fault(url, &server->url);
	char tls_fault[TLS_WHY_SIZE] = "";

	if (!fault && server->url.is_tls) {
		server->trust = tls_context_new(ca_file, tls_fault);
		fault = server->trust ? NULL : tls_fault;
	}
	if (!fault)
		return server;
	snprintf(why, REDIS_WHY_SIZE, "%s: %s", *tls_fault ? "redis_ca" : "redis_url",
		 *fault ? fault : "it is none");
	redis_server_free(server);
	return NULL;
}

void redis_server_free(struct redis_server *server)
{
	if (!server)
		return;
	SSL_CTX_free(server->trust);
	free(server);
}

static void on_soon(uv_idle_t *soon);

static void wake(struct redis *redis)
{
	uv_idle_start(&redis->soon, on_soon);
}

/* The last one frees all. */
static void on_handle_closed(uv_handle_t *handle)
{
	struct redis *redis = handle->data;

	if (--redis->handles > 0 || !redis->is_closed)
		return;
	tls_free(redis->tls);
	replies_free(redis->replies);
	free(redis->unsent);
	free(redis);
}

static void close_socket(struct redis *redis, uv_close_cb on_closed)
{
	if (redis->has_socket)
		uv_close(&redis->socket.handle, on_closed);
	redis->has_socket = false;
}

/* The connection is over. The handlers hear of it in the loop's next turn. */
__attribute__((format(printf, 2, 3))) static void end(struct redis *redis, const char *format, ...)
{
	va_list args;

	if (redis->state == ENDED || redis->is_closed)
		return;
	redis->state = ENDED;
	va_start(args, format);
	vsnprintf(redis->why, sizeof(redis->why), format, args);
	va_end(args);
	lookup_end(redis->lookup);
	redis->lookup = NULL;
	close_socket(redis, on_handle_closed);
	uv_timer_stop(&redis->timer);
	wake(redis);
}

static struct command *take_command(struct redis *redis)
{
	struct command *command = STAILQ_FIRST(&redis->commands);

	if (command) {
		STAILQ_REMOVE_HEAD(&redis->commands, entry);
		redis->command_count--;
	}
	return command;
}

static void answer(struct command *command, const redisReply *reply)
{
	if (command->answer)
		command->answer(command->context, reply);
	free(command);
}

/* The first command's deadline is the one that counts. */
static void on_due(uv_timer_t *timer);
static void watch_deadline(struct redis *redis)
{
	const struct command *first = STAILQ_FIRST(&redis->commands);
	int64_t left = first ? first->due_ms - clock_monotonic_ms() : 0;

	redis->is_late = false;
	if (first && !redis->is_paused)
		uv_timer_start(&redis->timer, on_due, left > 0 ? (uint64_t)left : 0, 0);
	else
		uv_timer_stop(&redis->timer);
}

/* Sending. */

static void flush(struct redis *redis);

static void on_written(uv_write_t *writing, int status)
{
	struct redis *redis = writing->data;

	free(redis->in_flight);
	redis->in_flight = NULL;
	/* Why it cannot send is said by what is still to be read: an error, an alert, the end. */
	redis->is_deaf = status < 0;
	flush(redis);
}

static void write_out(struct redis *redis, char *bytes, size_t len)
{
	uv_buf_t buffer = uv_buf_init(bytes, (unsigned)len);
	int status;

	redis->in_flight = bytes;
	redis->writing.data = redis;
	status = uv_write(&redis->writing, &redis->socket.stream, &buffer, 1, on_written);
	if (status == 0)
		return;
	free(redis->in_flight);
	redis->in_flight = NULL;
	end(redis, "cannot send: %s", uv_strerror(status));
}

static void flush(struct redis *redis)
{
	char *bytes = NULL;
	size_t len = 0;

	if (!redis->has_socket || redis->in_flight || redis->is_deaf || redis->state < SECURING)
		return;
	if (redis->tls) {
		if (redis->state > SECURING && redis->unsent_len > 0) {
			if (!tls_write(redis->tls, redis->unsent, redis->unsent_len))
				end(redis, "%s", tls_why(redis->tls));
			redis->unsent_len = 0;
		}
		bytes = tls_take_output(redis->tls, &len);
	} else if (redis->unsent_len > 0) {
		bytes = redis->unsent;
		len = redis->unsent_len;
		redis->unsent = NULL;
		redis->unsent_len = redis->unsent_size = 0;
	}
	if (bytes && redis->has_socket)
		write_out(redis, bytes, len);
	else
		free(bytes);
}

size_t redis_unsent(const struct redis *redis)
{
	return redis->unsent_len +
	       (redis->has_socket ? uv_stream_get_write_queue_size(&redis->socket.stream) : 0);
}

int64_t redis_heard_ms(const struct redis *redis)
{
	return redis->heard_ms;
}

static void append(struct redis *redis, const char *bytes, size_t len)
{
	size_t size = redis->unsent_size ? redis->unsent_size : 4096;

	while (size < redis->unsent_len + len)
		size *= 2;
	if (size > redis->unsent_size)
		redis->unsent = xreallocarray(redis->unsent, size, 1);
	redis->unsent_size = size;
	memcpy(redis->unsent + redis->unsent_len, bytes, len);
	redis->unsent_len += len;
}

void redis_command_for(struct redis *redis, int64_t deadline_ms, redis_answer *on_answer,
		       void *context, int argc, const char *const *argv, const size_t *lens)
{
	struct command *command = xcalloc(1, sizeof(*command));
	bool is_subscribe = strcmp(argv[0], "SUBSCRIBE") == 0;
	char *bytes = NULL;
	long long len;

	*command = (struct command){
		.answer = on_answer,
		.context = context,
		.deadline_ms = deadline_ms,
		.due_ms = clock_monotonic_ms() + deadline_ms,
		.confirmations = is_subscribe ? argc - 1 : 1,
	};
	snprintf(command->word, sizeof(command->word), "%s", argv[0]);
	STAILQ_INSERT_TAIL(&redis->commands, command, entry);
	redis->command_count++;
	wake(redis);
	if (redis->state == ENDED)
		return;
	redis->is_subscriber = redis->is_subscriber || is_subscribe;
	len = redisFormatCommandArgv(&bytes, argc, (const char **)(uintptr_t)argv, lens);
	if (len < 0)
		end(redis, "there is no memory for a command");
	else if ((size_t)len + redis_unsent(redis) > REDIS_UNSENT_MAX)
		end(redis, "more is to be sent than Redis takes");
	else if (redis->command_count > REDIS_COMMANDS_MAX)
		end(redis, "too many commands have no answer yet");
	else
		append(redis, bytes, (size_t)len);
	if (len >= 0)
		redisFreeCommand(bytes);
	if (redis->command_count == 1 && redis->state != ENDED)
		watch_deadline(redis);
}

void redis_command(struct redis *redis, redis_answer *on_answer, void *context, int argc,
		   const char *const *argv, const size_t *lens)
{
	redis_command_for(redis, redis->deadline_ms, on_answer, context, argc, argv, lens);
}

/* Receiving. */

void redis_error_code(const redisReply *error, char code[REDIS_CODE_SIZE])
{
	size_t len = 0;

	while (len < error->len && len < REDIS_CODE_SIZE - 1 && error->str[len] >= 'A' &&
	       error->str[len] <= 'Z')
		len++;
	snprintf(code, REDIS_CODE_SIZE, "%.*s", len > 0 ? (int)len : (int)strlen("error"),
		 len > 0 ? error->str : "error");
}

bool redis_is_text(const redisReply *reply, const char *text)
{
	return reply && (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_STRING) &&
	       reply->len == strlen(text) && memcmp(reply->str, text, reply->len) == 0;
}

/* What a subscriber gets without having asked for it. */
static bool is_message(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3 &&
	       (redis_is_text(reply->element[0], "message") ||
		redis_is_text(reply->element[0], "pmessage"));
}

static void on_reply(struct redis *redis, const redisReply *reply)
{
	struct command *first = STAILQ_FIRST(&redis->commands);

	if (redis->is_subscriber && is_message(reply)) {
		if (redis->handlers.on_push)
			redis->handlers.on_push(redis->handlers.context, reply);
		else
			end(redis, "Redis sent a message that nobody expects");
	} else if (!first) {
		end(redis, "Redis sent an answer to no command");
	} else if (first->confirmations > 1 && reply->type == REDIS_REPLY_ARRAY) {
		first->confirmations--;
	} else {
		take_command(redis);
		watch_deadline(redis);
		answer(first, reply);
	}
}

/* All that has come, as far as it is whole. A handler may end, pause or close the connection. */
static void take_replies(struct redis *redis)
{
	while (!redis->is_closed && !redis->is_paused && redis->state != ENDED) {
		redisReply *reply = replies_next(redis->replies);

		if (!reply && replies_fault(redis->replies))
			end(redis, "%s", replies_fault(redis->replies));
		if (!reply)
			return;
		on_reply(redis, reply);
		freeReplyObject(reply);
	}
}

/* As far as it has come, what TLS says, then its replies. */
static void take_secured(struct redis *redis)
{
	size_t len = 1;

	while (len > 0 && !redis->is_closed && !redis->is_paused && redis->state != ENDED) {
		len = tls_read(redis->tls, redis->plain, sizeof(redis->plain));
		replies_feed(redis->replies, redis->plain, len);
		take_replies(redis);
	}
	if (redis->is_closed || redis->is_paused)
		return;
	flush(redis);
	if (tls_why(redis->tls))
		end(redis, "%s", tls_why(redis->tls));
}

static void greet(struct redis *redis);

static void secure(struct redis *redis)
{
	enum tls_state state = tls_handshake(redis->tls);

	flush(redis); /* an alert as well */
	if (state == TLS_FAILED)
		end(redis, "%s", tls_why(redis->tls));
	else if (state == TLS_OPEN && redis->state != ENDED)
		greet(redis);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
	struct redis *redis = handle->data;

	(void)size;
	*buffer = uv_buf_init(redis->input, sizeof(redis->input));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	struct redis *redis = stream->data;
	struct command *first = STAILQ_FIRST(&redis->commands);

	if (count > 0)
		redis->heard_ms = clock_monotonic_ms();
	if (first && count > 0) /* a long answer is not late while it comes */
		first->due_ms += count / REDIS_BYTES_PER_MS;
	if (count == UV_EOF) {
		end(redis, redis->state == SECURING ? "Redis closed the connection instead of TLS"
						    : "Redis closed the connection");
	} else if (count < 0) {
		end(redis, "cannot receive: %s", uv_strerror((int)count));
	} else if (redis->tls) {
		tls_feed(redis->tls, buffer->base, (size_t)count);
		if (redis->state == SECURING)
			secure(redis);
		if (redis->state > SECURING)
			take_secured(redis);
	} else {
		replies_feed(redis->replies, buffer->base, (size_t)count);
		take_replies(redis);
	}
}

void redis_pause(struct redis *redis)
{
	if (redis->is_paused || redis->state != READY)
		return;
	redis->is_paused = true;
	redis->paused_ms = clock_monotonic_ms();
	uv_read_stop(&redis->socket.stream);
	watch_deadline(redis);
}

void redis_resume(struct redis *redis)
{
	struct command *command;

	if (!redis->is_paused)
		return;
	redis->is_paused = false;
	STAILQ_FOREACH(command, &redis->commands, entry)
	command->due_ms += clock_monotonic_ms() - redis->paused_ms;
	if (redis->state != READY)
		return;
	watch_deadline(redis);
	uv_read_start(&redis->socket.stream, on_alloc, on_read);
	wake(redis);
}

/* Connecting. */

static void on_greeted(void *context, const redisReply *reply)
{
	struct redis *redis = context;
	char code[REDIS_CODE_SIZE];

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		redis_error_code(reply, code);
		end(redis, "Redis refused %s: %s",
		    redis->greetings == 1				       ? "CLIENT SETNAME"
		    : redis->greetings == 2 && redis->server->url.database > 0 ? "SELECT"
									       : "AUTH",
		    code);
	} else if (--redis->greetings == 0) {
		redis->state = READY;
		redis->handlers.on_ready(redis->handlers.context);
	}
}

static void greet(struct redis *redis)
{
	const struct redis_url *url = &redis->server->url;
	const char *const auth[] = {"AUTH", url->user, url->password};
	const char *const auth_default[] = {"AUTH", url->password};
	char database[16];
	const char *const select[] = {"SELECT", database};
	const char *const set_name[] = {"CLIENT", "SETNAME", redis->name};

	redis->state = GREETING;
	redis->greetings = 1 + (url->password[0] != '\0') + (url->database > 0);
	if (url->user[0])
		redis_command(redis, on_greeted, redis, 3, auth, NULL);
	else if (url->password[0])
		redis_command(redis, on_greeted, redis, 2, auth_default, NULL);
	snprintf(database, sizeof(database), "%u", url->database);
	if (url->database > 0)
		redis_command(redis, on_greeted, redis, 2, select, NULL);
	redis_command(redis, on_greeted, redis, 3, set_name, NULL);
}

static void connect_next(struct redis *redis);

static void on_attempt_closed(uv_handle_t *handle)
{
	struct redis *redis = handle->data;
	bool goes_on = redis->state == CONNECTING && !redis->is_closed;

	on_handle_closed(handle);
	if (goes_on)
		connect_next(redis);
}

/* This address is none; perhaps the next is. */
static void on_attempt_failed(struct redis *redis, const char *why /* a constant */)
{
	redis->attempt_why = why;
	uv_timer_stop(&redis->timer);
	close_socket(redis, on_attempt_closed);
}

static void on_connected(uv_connect_t *connecting, int status)
{
	struct redis *redis = connecting->data;

	if (redis->state != CONNECTING || redis->is_closed || !redis->has_socket)
		return;
	if (status < 0) {
		on_attempt_failed(redis, uv_strerror(status));
		return;
	}
	uv_timer_stop(&redis->timer);
	if (!redis->server->url.path[0])
		uv_tcp_nodelay(&redis->socket.tcp, 1);
	uv_read_start(&redis->socket.stream, on_alloc, on_read);
	redis->state = SECURING;
	if (!redis->server->trust) {
		greet(redis);
		return;
	}
	redis->tls = tls_new(redis->server->trust, redis->server->url.host);
	uv_timer_start(&redis->timer, on_due, (uint64_t)redis->deadline_ms, 0);
	secure(redis);
}

static void connect_next(struct redis *redis)
{
	const char *path = redis->server->url.path;
	int status = 0;

	redis->state = CONNECTING;
	if (redis->address_at == redis->address_count) {
		end(redis, "cannot connect: %s", redis->attempt_why);
		return;
	}
	redis->connecting.data = redis;
	if (*path)
		uv_pipe_init(redis->loop, &redis->socket.pipe, 0);
	else
		uv_tcp_init(redis->loop, &redis->socket.tcp);
	redis->socket.handle.data = redis;
	redis->has_socket = true;
	redis->handles++;
	uv_timer_start(&redis->timer, on_due, REDIS_CONNECT_MS, 0);
	if (*path)
		uv_pipe_connect(&redis->connecting, &redis->socket.pipe, path, on_connected);
	else
		status = uv_tcp_connect(
			&redis->connecting, &redis->socket.tcp,
			(const struct sockaddr *)&redis->addresses[redis->address_at],
			on_connected);
	redis->address_at++;
	if (status < 0)
		on_attempt_failed(redis, uv_strerror(status));
}

static void on_looked_up(void *context, const struct sockaddr_storage *addresses, size_t count,
			 const char *why)
{
	struct redis *redis = context;

	if (count > 0)
		memcpy(redis->addresses, addresses, count * sizeof(*addresses));
	redis->address_count = count;
	lookup_end(redis->lookup); /* with the addresses */
	redis->lookup = NULL;
	if (count == 0)
		end(redis, "cannot look up the host: %s", why);
	else
		connect_next(redis);
}

/* A deadline has passed: of the command that is first, or of what comes before the first. */
static void on_due(uv_timer_t *timer)
{
	struct redis *redis = timer->data;
	const struct command *first = STAILQ_FIRST(&redis->commands);

	if (redis->state == LOOKING_UP)
		end(redis, "cannot look up the host: no answer in time");
	else if (redis->state == CONNECTING)
		on_attempt_failed(redis, "no answer in time");
	else if (redis->state == SECURING)
		end(redis, "TLS: no answer in time; is that a port for TLS?");
	else if (!first || first->due_ms > clock_monotonic_ms())
		watch_deadline(redis);
	else if (redis->is_late)
		end(redis, "no answer to %s within %lld ms", first->word,
		    (long long)first->deadline_ms);
	else {
		redis->is_late = true;
		uv_timer_start(timer, on_due, GRACE_MS, 0);
	}
}

/* What could not be done within the caller. */
static void on_soon(uv_idle_t *soon)
{
	struct redis *redis = soon->data;
	struct command *command;

	uv_idle_stop(soon);
	if (redis->state != ENDED) {
		flush(redis);
		if (redis->tls && redis->state > SECURING)
			take_secured(redis);
		else
			take_replies(redis);
		return;
	}
	while (!redis->is_closed && (command = take_command(redis)))
		answer(command, NULL);
	if (redis->is_closed || redis->is_told)
		return;
	redis->is_told = true;
	redis->handlers.on_end(redis->handlers.context, redis->why);
}

struct redis *redis_open(struct uv_loop_s *loop, const struct redis_options *options,
			 const struct redis_handlers *handlers)
{
	struct redis *redis = xcalloc(1, sizeof(*redis));
	const struct redis_url *url = &options->server->url;
	struct sockaddr_storage *address = &redis->addresses[0];

	redis->loop = loop;
	redis->server = options->server;
	redis->handlers = *handlers;
	redis->deadline_ms = options->deadline_ms;
	redis->replies = replies_new();
	STAILQ_INIT(&redis->commands);
	snprintf(redis->name, sizeof(redis->name), "%s", options->client_name);
	uv_timer_init(loop, &redis->timer);
	uv_idle_init(loop, &redis->soon);
	redis->timer.data = redis->soon.data = redis;
	redis->handles = 2;
	if (url->path[0] ||
	    uv_ip4_addr(url->host, (int)url->port, (struct sockaddr_in *)address) == 0 ||
	    uv_ip6_addr(url->host, (int)url->port, (struct sockaddr_in6 *)address) == 0) {
		redis->address_count = 1;
		connect_next(redis);
	} else {
		redis->lookup = lookup_start(loop, url->host, url->port, on_looked_up, redis);
		uv_timer_start(&redis->timer, on_due, (uint64_t)options->deadline_ms, 0);
	}
	return redis;
}

void redis_close(struct redis *redis)
{
	struct command *command;

	if (!redis)
		return;
	redis->is_closed = true;
	lookup_end(redis->lookup);
	while ((command = take_command(redis)))
		free(command);
	close_socket(redis, on_handle_closed);
	uv_close((uv_handle_t *)&redis->timer, on_handle_closed);
	uv_close((uv_handle_t *)&redis->soon, on_handle_closed);
}
