/*
 * Look-ups, see lookup.h. State: how many threads there are. A look-up is shared by the loop and
 * its thread; the last of the two frees it. The thread may outlive the loop, so it wakes it only
 * while the loop has not ended the look-up, and under the mutex.
 */
#include "gateway/cluster/lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "shared/base/alloc.h"

static atomic_int running;

/* What both sides have. */
struct question {
	pthread_mutex_t lock;
	uv_async_t *answered; /* NULL: nobody wants to know any more */
	bool is_answered;
	char *host;
	char port[8];
	struct sockaddr_storage addresses[LOOKUP_ADDRESSES_MAX];
	size_t count;
	const char *why;
};

struct lookup {
	uv_async_t async; /* first: its handle is freed as the look-up */
	struct question *question; /* NULL: none could be asked */
	lookup_answer *answer;
	void *context;
};

static void question_free(struct question *question)
{
	pthread_mutex_destroy(&question->lock);
	free(question->host);
	free(question);
}

static void *ask(void *argument)
{
	struct question *question = argument;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	int error = getaddrinfo(question->host, question->port, &hints, &found);
	bool is_ours;

	if (error != 0)
		question->why = error == EAI_SYSTEM ? "the system is out of something"
						    : gai_strerror(error);
	for (const struct addrinfo *at = error == 0 ? found : NULL;
	     at && question->count < LOOKUP_ADDRESSES_MAX; at = at->ai_next)
		memcpy(&question->addresses[question->count++], at->ai_addr, at->ai_addrlen);
	if (error == 0)
		freeaddrinfo(found);
	atomic_fetch_sub(&running, 1);
	pthread_mutex_lock(&question->lock);
	question->is_answered = true;
	is_ours = !question->answered;
	if (!is_ours)
		uv_async_send(question->answered);
	pthread_mutex_unlock(&question->lock);
	if (is_ours)
		question_free(question);
	return NULL;
}

static void on_answered(uv_async_t *async)
{
	struct lookup *lookup = (struct lookup *)async;
	const struct question *question = lookup->question;

	if (question)
		lookup->answer(lookup->context, question->addresses, question->count,
			       question->count > 0 ? NULL : question->why);
	else
		lookup->answer(lookup->context, NULL, 0, "too many look-ups have not ended");
}

static struct question *question_new(const char *host, unsigned port, uv_async_t *answered)
{
	struct question *question = xcalloc(1, sizeof(*question));
	pthread_attr_t detached;
	pthread_t thread;
	int error;

	pthread_mutex_init(&question->lock, NULL);
	question->answered = answered;
	question->host = xstrdup(host);
	question->why = "it has no address";
	snprintf(question->port, sizeof(question->port), "%u", port);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &detached, ask, question);
	pthread_attr_destroy(&detached);
	if (error == 0)
		return question;
	question_free(question);
	return NULL;
}

struct lookup *lookup_start(struct uv_loop_s *loop, const char *host, unsigned port,
			    lookup_answer *answer, void *context)
{
	struct lookup *lookup = xcalloc(1, sizeof(*lookup));

	lookup->answer = answer;
	lookup->context = context;
	uv_async_init(loop, &lookup->async, on_answered);
	if (atomic_fetch_add(&running, 1) < LOOKUPS_MAX)
		lookup->question = question_new(host, port, &lookup->async);
	if (!lookup->question) {
		atomic_fetch_sub(&running, 1);
		uv_async_send(&lookup->async);
	}
	return lookup;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void lookup_end(struct lookup *lookup)
{
	struct question *question = lookup ? lookup->question : NULL;
	bool is_answered = false;

	if (question) {
		pthread_mutex_lock(&question->lock);
		is_answered = question->is_answered;
		question->answered = NULL;
		pthread_mutex_unlock(&question->lock);
	}
	if (is_answered)
		question_free(question);
	if (lookup)
		uv_close((uv_handle_t *)&lookup->async, on_closed);
}
