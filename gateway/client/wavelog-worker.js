/*
 * The browser's half: WavelogWorker.subscribe({ url, topic, token, onPush, onState }) brings the
 * pushes of a topic to a page, each once and in order, by the best transport that gets through:
 * WebSocket, else a stream (server-sent events over one POST), else polling. docs/clients.md has
 * the options.
 *
 * A plain script without dependencies, so that one <script> tag is all a page needs and no build
 * step stands between this file and a browser; wavelog-worker.mjs makes a module of it. Carriers
 * are what is open: one at most is live, and only what that one brings is delivered. A better one
 * asks for what comes after the last id that was delivered, and takes over with its auth_ok; the
 * old one is closed in the same moment. Ids that are numbers rise, so what both bring is delivered
 * once; those of a cluster are texts that say nothing to us, so what the old one brings waits
 * meanwhile.
 *
 * Tokens are in message bodies only. Nothing is written to the console.
 */
(function () {
'use strict';

if (globalThis.WavelogWorker)
	return;

const RUNGS = ['websocket', 'stream', 'poll']; // of the ladder, the best one first
const PATHS = ['/ws', '/stream', '/poll'];
const STREAM = 1, POLL = 2;

const DEFAULTS = {
	transports: RUNGS,
	lastEventId: null, // from now
	patienceMs: 1000, // a rung gets that before the next one is tried beside it
	retryMs: 500, retryMaxMs: 30000, // after a failure, doubled each time
	climbMs: 5000, climbMaxMs: 300000, // until a better rung is tried again, doubled each time
	pollMs: 1500, pollMaxMs: 10000, pollHiddenMs: 30000, // after a push; when idle; in a hidden tab
	streams: 3, // of all tabs together: over HTTP/1.1 a browser has six connections to a host
};

const CONNECT_MS = 8000; // until a WebSocket or a stream says auth_ok
const POLL_LIMIT_MS = 20000;
const TOKEN_MS = 30000; // for the page to make a token
const SILENCE_MS = 40000; // of a stream, which says something every 15 s
const QUIET_MS = 60000; // of a WebSocket, which is then asked whether it is still alive
const CHECK_MS = 5000; // for the answer
const SHORT_LIFE_MS = 3000;
const HOLD_MS = 2000; // as long as a carrier that is to take over may keep pushes waiting
const TICK_MS = 5000;
const SLEPT_MS = 90000; // a hidden tab's timers may be a minute late
const EARLY_MS = 60000; // that a token is renewed before it expires
const RETRY_AFTER_MAX_S = 300;
const TOKEN = /^[\w.-]{0,3500}$/; // anything else is somebody's page, or more than a message may have

const REFUSED = ['auth_required', 'unauthorized', 'auth_expired', 'disconnected'];
const FOR_ALL_RUNGS = [...REFUSED, 'not_registered', 'origin', 'token'];

const Socket = globalThis.WebSocket; // before a stand-in takes its place
const doc = globalThis.document;

function call(callback, ...values) {
	try {
		callback?.(...values);
	} catch (error) { // the page's, and none of our business
		setTimeout(() => { throw error; });
	}
}

/* When a token expires, in ms; 0 when that cannot be read. */
function expiry(token) {
	try {
		return JSON.parse(decodeURIComponent(token.split('.')[0].replace(/../g, '%$&'))).expires * 1000 || 0;
	} catch {
		return 0;
	}
}

const isExpired = (token) => expiry(token) && expiry(token) <= Date.now();

/* The address of a rung: `url` is what stands before /ws, in any scheme. */
function address(options, rung) {
	const own = rung === POLL && options.pollUrl;
	const url = new URL(own || options.url, globalThis.location?.href);

	if (!own)
		url.pathname = url.pathname.replace(/(\/ws)?\/*$/, PATHS[rung]);
	url.protocol = (rung ? 'http' : 'ws') + (/^(https|wss):/.test(url.protocol) ? 's:' : ':');
	url.search = (own && url.search ? url.search + '&' : '?') + 'topic=' + encodeURIComponent(options.topic);
	url.hash = '';
	return url.href;
}

async function faultOf(response) {
	const text = (await response.text()).trim();
	const fault = { code: 'http', status: response.status, message: 'HTTP ' + response.status };
	const after = Math.min(parseInt(response.headers.get('Retry-After'), 10), RETRY_AFTER_MAX_S);

	try {
		const { type, code, message } = JSON.parse(text);

		if (type === 'error')
			Object.assign(fault, { code, message });
	} catch {
		if (/^text\/plain/.test(response.headers.get('Content-Type')))
			fault.message = text.slice(0, 200);
		if (/^topic not registered$/.test(text))
			fault.code = 'not_registered';
		if (/^origin not allowed$/.test(text))
			fault.code = 'origin';
	}
	if (after > 0)
		fault.afterMs = after * 1000;
	return fault;
}

/* A place among the streams of all tabs: the function that gives it back, or nothing. */
async function takePlace(url, places) {
	const { locks } = globalThis.navigator ?? {};

	for (let i = 0; locks && i < places; i++) {
		const release = await new Promise((resolve) => {
			locks.request(`wavelog-worker ${new URL(url).host} ${i}`, { ifAvailable: true },
				(lock) => lock ? new Promise((free) => resolve(free)) : resolve()).catch(() => resolve());
		});

		if (release)
			return release;
	}
}

/* The pushes in the answer to a poll, as the frames that a WebSocket brings: each payload has the
 * bytes that it was published with. */
function* framesOf(text) {
	let depth = 0, start = 0;

	for (let i = 0; i < text.length; i++) {
		const char = text[i];

		if (char === '"') {
			while (text[++i] !== '"')
				if (text[i] === '\\')
					i++;
		} else if (char === '{' || char === '[') {
			if (++depth === 3)
				start = i;
		} else if (char === '}' || char === ']') {
			if (depth-- === 3)
				yield '{"type":"push",' + text.slice(start + 1, i + 1);
		}
	}
}

/* The transports. Each brings frames to carrier.take and says with carrier.end that it is over. */

function openWebSocket(carrier) {
	const socket = new Socket(carrier.url);
	const say = () => carrier.auth().then((text) => socket.send(text));

	carrier.expect(CONNECT_MS);
	socket.onopen = () => {
		carrier.expect(0); // the gateway sets the limit from here on
		say().then(() => carrier.expect(CONNECT_MS)).catch(carrier.end);
	};
	socket.onmessage = (event) => {
		carrier.expect(0);
		carrier.take(event.data);
		carrier.heard = carrier.isOurs ? Date.now() : NaN; // the existing Go server does not answer
	};
	socket.onclose = (event) => carrier.end({ closeCode: event.code });
	carrier.cancel = () => {
		socket.onopen = socket.onmessage = socket.onclose = null;
		socket.close();
	};
	carrier.send = (text) => socket.send(text);
	/* An answer to a token shows that the other side is there, and moves the expiry. */
	carrier.renew = carrier.check = () => say().then(() => carrier.expect(CHECK_MS)).catch(carrier.end);
}

async function openStream(carrier) {
	const abort = new AbortController();
	const release = await takePlace(carrier.url, carrier.places);
	let heard, line = '', data = [];

	if (!release)
		return carrier.end({});
	carrier.cancel = () => {
		abort.abort();
		release();
	};
	if (carrier.isOver)
		return carrier.cancel();
	const body = await carrier.auth();
	carrier.expect(CONNECT_MS);
	const response = await fetch(carrier.url, { method: 'POST', body, cache: 'no-store', signal: abort.signal });

	if (!response.ok || !/^text\/event-stream/.test(response.headers.get('Content-Type')))
		return carrier.end(await faultOf(response));
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();

	carrier.check = () => Date.now() - heard > SILENCE_MS && carrier.end({ code: 'timeout' });
	for (;;) {
		const { done, value } = await reader.read();

		if (done)
			return carrier.end({});
		heard = Date.now();
		const lines = (line + value).split(/\r?\n/);

		line = lines.pop();
		for (const text of lines) {
			if (text.startsWith('data:')) {
				data.push(text.slice(5).replace(/^ /, ''));
			} else if (!text && data.length) {
				carrier.take(data.join('\n'));
				data = [];
			}
		}
		if (carrier.isLive)
			carrier.expect(SILENCE_MS);
	}
}

async function openPoll(carrier) {
	const { pollMs, pollMaxMs, pollHiddenMs } = carrier.options;
	let pause = pollMs, wake, abort;

	carrier.cancel = () => {
		abort?.abort();
		wake?.();
	};
	while (!carrier.isOver) {
		const body = await carrier.auth();
		let wait = 0, mayWake = true;

		abort = new AbortController();
		carrier.expect(POLL_LIMIT_MS);
		const response = await fetch(carrier.url, { method: 'POST', body, cache: 'no-store', signal: abort.signal });
		const text = response.status === 200 ? await response.clone().text() : '';

		if (response.status === 204) {
			if (!carrier.isLive)
				carrier.take('{"type":"auth_ok"}');
			pause = Math.min(pollMaxMs, pause * 1.25);
		} else if (/^\s*{\s*"type"\s*:\s*"auth_ok"/.test(text)) {
			const answer = JSON.parse(text);

			if (!carrier.isLive || !answer.recovered)
				carrier.take(JSON.stringify({ ...answer, pushes: undefined }));
			for (const frame of framesOf(text))
				carrier.take(frame);
			carrier.passed(answer.last_event_id);
			pause = answer.pushes.length ? pollMs : Math.min(pollMaxMs, pause * 1.25);
			if (answer.more)
				continue;
		} else {
			const fault = await faultOf(response);

			if (!carrier.isLive || ![429, 503].includes(fault.status))
				return carrier.end(fault);
			wait = fault.afterMs ?? 0;
			mayWake = !wait;
		}
		carrier.expect(0);
		wait = Math.max(wait, doc?.hidden ? pollHiddenMs : pause * (0.9 + Math.random() * 0.2));
		await new Promise((resolve) => {
			const timer = setTimeout(resolve, wait);

			wake = () => {
				clearTimeout(timer);
				resolve();
			};
			carrier.check = () => mayWake && wake();
		});
	}
}

const OPENERS = [openWebSocket, openStream, openPoll];

function subscribe(given) {
	const options = { ...DEFAULTS };

	for (const name in given)
		if (given[name] !== undefined)
			options[name] = given[name];
	if (typeof options.topic !== 'string' || !options.topic)
		throw new TypeError('topic: a text is expected');

	const urls = RUNGS.map((_, rung) => address(options, rung)); // throws when url is none
	const memory = 'wavelog-worker ' + urls[0].split('?')[0];
	const carriers = new Set();
	const listeners = [];
	let state = '', live = null, round = null, position = options.lastEventId;
	let held = null; // what the live carrier brings while another one is to take over
	let token, asking, refusal = null; // the token that was refused, and why
	let failures = 0, climbs = 0, shortLives = 0;
	let retryTimer, climbTimer, tokenTimer;

	function setState(to, detail) {
		state = to;
		call(options.onState, { state, transport: live && RUNGS[live.rung], ...detail });
	}

	/* Tokens */

	/* Nobody waits for another one while there is one. */
	async function currentToken(another) {
		if (!options.getToken)
			return options.token;
		if (token === undefined || another) {
			const before = token;

			try {
				asking ??= Promise.race([
					Promise.resolve().then(() => options.getToken()),
					new Promise((_, reject) => setTimeout(reject, TOKEN_MS, 'getToken does not answer')),
				]);
				const got = await asking;

				if (!TOKEN.test(got))
					throw new Error('getToken gives no token');
				token = got;
				if (token !== before)
					planRenewal();
			} catch (error) {
				if (before === undefined)
					throw { code: 'token', message: String(error?.message ?? error) };
				renewIn(2 * TICK_MS); // the old one may be good for a while
			} finally {
				asking = null;
			}
		}
		return token;
	}

	/* A clock that is wrong makes this too late, which the server says, or too frequent. */
	function planRenewal() {
		const until = expiry(token);
		const left = until - Date.now();

		renewIn(left > 0 ? Math.min(Math.max(1000, left - Math.min(EARLY_MS, left / 2)), 2 ** 31 - 1) : until && 30000);
	}

	function renewIn(ms) {
		clearTimeout(tokenTimer);
		if (ms && state !== 'closed')
			tokenTimer = setTimeout(renew, ms);
	}

	async function renew() {
		const before = token;

		await currentToken(true).catch(() => {});
		if (live && token !== before)
			live.renew();
	}

	/* Carriers */

	function open(rung, itsRound) {
		const carrier = {
			rung, options, url: urls[rung], round: itsRound, places: options.streams, isLive: false, isOver: false,
			cancel() {}, check() {},
			renew: () => rung === STREAM && open(STREAM, { pending: 1 }), // another one, which takes over
			async auth() {
				const its = await currentToken();

				if (carrier.isOver)
					throw {};
				if (refusal && its === refusal.token)
					throw refusal.fault;
				carrier.from = carrier === live && held?.passed || position;
				carrier.token = its;
				if (live && carrier !== live && typeof position === 'string')
					held ??= { carrier, frames: [], timer: setTimeout(release, HOLD_MS) };
				return JSON.stringify({ type: 'auth', token: its, last_event_id: carrier.from });
			},
			expect(ms) {
				clearTimeout(carrier.timer);
				if (ms && !carrier.isOver)
					carrier.timer = setTimeout(carrier.end, ms, { code: 'timeout', message: 'no answer in time' });
			},
			take: (text) => carrier.isOver || take(carrier, text),
			passed(id) { // there was nothing more up to this one
				if (carrier === live && held)
					held.passed = id;
				else if (carrier === live)
					position = id;
			},
			end(fault) {
				if (carrier.isOver)
					return;
				discard(carrier);
				fault = carrier.fault ?? (fault instanceof Error ? { code: 'network', message: 'no answer' } : fault);
				(carrier === live ? lost : failed)(carrier, fault);
			},
		};

		carriers.add(carrier);
		try { // a page may not be allowed to open it
			Promise.resolve(OPENERS[rung](carrier)).catch(carrier.end);
		} catch (error) {
			setTimeout(carrier.end, 0, error);
		}
	}

	function discard(carrier) {
		carrier.isOver = true;
		carriers.delete(carrier);
		clearTimeout(carrier.timer);
		carrier.cancel();
		if (held?.carrier === carrier)
			release();
	}

	function forget() {
		clearTimeout(held?.timer);
		held = null;
	}

	function release() {
		const { frames, passed } = held;

		forget();
		for (const each of frames)
			if (state !== 'closed') // by what a page does with one of them
				deliver(...each);
		position = passed ?? position;
	}

	function discardAll() {
		forget(); // it comes again
		clearTimeout(retryTimer);
		clearTimeout(climbTimer);
		clearTimeout(round?.timer);
		round = live = null;
		carriers.forEach(discard);
	}

	function take(carrier, text) {
		let frame;

		try {
			frame = Object(JSON.parse(text));
		} catch {
			return;
		}
		if (frame.type === 'push') {
			if (carrier === live)
				held ? held.frames.push([frame, text]) : deliver(frame, text);
		} else if (frame.type === 'error') {
			carrier.fault = { code: frame.code, message: frame.message };
		} else if (frame.type === 'auth_ok' && (!carrier.isLive || frame.recovered === false)) {
			ready(carrier, frame);
		} else if (carrier === live) {
			call(frame.type === 'auth_ok' ? options.onRenewed : options.onMessage, frame, text);
		}
	}

	function deliver(frame, text) {
		if (frame.id !== undefined) {
			if (typeof frame.id === 'number' && typeof position === 'number' && frame.id <= position)
				return;
			position = frame.id;
		}
		call(options.onPush, frame.payload, {
			id: frame.id,
			text: text.slice(text.indexOf('"payload":') + 10, -1).trim(),
		});
	}

	/* It is at the position that it asked for, and brings all that comes after that. */
	function ready(carrier, frame) {
		const isFirst = !carrier.isLive;
		const recovered = frame.recovered !== false;
		const isNews = live?.rung !== carrier.rung;

		if (live && live.rung < carrier.rung)
			return discard(carrier);
		/* What lies between would be lost, or come twice. */
		if (position !== null && (carrier.from === null ||
			live && carrier !== live && typeof position === 'string' && carrier.from !== position)) {
			discard(carrier);
			return open(carrier.rung, carrier.round);
		}
		forget(); // it brings that too
		if (!recovered || position === null)
			position = frame.last_event_id ?? null;
		live = carrier;
		carrier.isLive = true;
		for (const other of carriers)
			if (other !== carrier && other.rung >= carrier.rung)
				discard(other);
		refusal = null;
		if (isFirst) {
			carrier.since = Date.now();
			carrier.isOurs = frame.last_event_id !== undefined;
			clearTimeout(retryTimer);
			clearTimeout(round?.timer);
			clearTimeout(carrier.round.timer);
			round = null;
			carrier.round.last = -1;
			carrier.round.pending--;
			try {
				sessionStorage.setItem(memory, carrier.rung);
			} catch { /* not allowed, or full */ }
			planClimb();
		}
		if (!recovered)
			call(options.onGap);
		if (isFirst && isNews && carrier === live)
			setState('live', { recovered, lastEventId: position });
	}

	/* Rounds: from one rung downwards, until one is live. The next one is tried when one has
	 * failed, or beside it when it takes long. */

	function connect(first) {
		setState('connecting');
		if (state === 'connecting')
			start(first, POLL);
	}

	function start(first, last) {
		round = { next: first, last, pending: 0 };
		step(round);
	}

	function step(its) {
		clearTimeout(its.timer);
		while (its.next <= its.last && !options.transports.includes(RUNGS[its.next]))
			its.next++;
		if (its.next <= its.last) {
			its.pending++;
			its.timer = setTimeout(step, options.patienceMs, its);
			open(its.next++, its);
		} else if (!its.pending && its === round) {
			round = null;
			if (live)
				planClimb();
			else
				waitToRetry(its.fault ?? {});
		}
	}

	function failed(carrier, fault) {
		const its = carrier.round;

		its.pending--;
		if (!live && FOR_ALL_RUNGS.includes(fault.code)) {
			discardAll();
			refuse(fault, carrier);
			return;
		}
		if (fault.code && (fault.code !== 'http' || !its.fault?.status))
			its.fault = { ...fault, afterMs: fault.afterMs ?? its.fault?.afterMs };
		step(its);
	}

	function lost(carrier, fault) {
		shortLives = Date.now() - carrier.since < SHORT_LIFE_MS ? shortLives + 1 : 0;
		if (!shortLives)
			failures = climbs = 0;
		discardAll();
		if (REFUSED.includes(fault.code) || fault.code === 'topic_unregistered')
			return refuse(fault, carrier);
		/* One that lets nobody stay is left alone for a while; a worse one may do better. */
		const isLowest = !RUNGS.slice(carrier.rung + 1).some((name) => options.transports.includes(name));
		const goesDown = shortLives > 1 && !isLowest;

		waitToRetry(fault, shortLives && !goesDown ? undefined : Math.random() * 300, carrier.rung + goesDown);
	}

	/* A page that makes tokens makes another one, once, before anybody hears of it. */
	function refuse(fault, carrier) {
		const isToken = REFUSED.includes(fault.code);
		const again = isToken && options.getToken && !refusal;

		if (isToken)
			refusal = { fault, token: carrier.token };
		if (again) {
			token = undefined;
			return connect(carrier.rung);
		}
		if (isToken)
			token = undefined;
		call(options.onError, fault);
		if (state === 'closed')
			return;
		if (isToken && !options.getToken)
			setState('refused', fault);
		else
			waitToRetry(fault, undefined, 0, isToken ? 'refused' : 'waiting');
	}

	function waitToRetry(fault, wait, first = 0, as = 'waiting') {
		const most = Math.min(options.retryMaxMs, options.retryMs * 2 ** failures);

		if (wait === undefined) {
			wait = Math.max(most / 2 + Math.random() * most / 2, fault.afterMs ?? 0);
			failures++;
		}
		clearTimeout(retryTimer);
		retryTimer = setTimeout(() => {
			if (as === 'refused')
				refusal = { ...refusal, token: null }; // whatever it is now, it is tried
			connect(first);
		}, wait);
		setState(as, { ...fault, retryMs: Math.round(wait) });
	}

	function planClimb(soon) {
		clearTimeout(climbTimer);
		if (live?.rung) {
			const wait = Math.min(options.climbMaxMs, options.climbMs * 2 ** (soon ? 0 : climbs++));

			climbTimer = setTimeout(() => round || start(0, live.rung - 1),
				soon ? Math.random() * 1000 : wait * (0.8 + Math.random() * 0.4));
		}
	}

	/* What happens to the page */

	function pause() {
		if (['closed', 'refused', 'paused'].includes(state))
			return;
		discardAll();
		setState('paused');
	}

	/* Is it still there? Not with a token that would end it: the gateway may let it stay. */
	function check() {
		if (live && (options.getToken || !isExpired(live.token)))
			live.check();
	}

	function retry() {
		if (state === 'closed')
			return;
		if (live) {
			check();
			planClimb(true);
			return;
		}
		if (state === 'connecting')
			return;
		discardAll();
		refusal = null;
		failures = 0;
		connect(0);
	}

	const wake = () => state === 'refused' || retry();

	function listen(target, types, listener) {
		for (const type of target ? types.split(' ') : []) {
			target.addEventListener?.(type, listener);
			listeners.push(() => target.removeEventListener?.(type, listener));
		}
	}

	let tickedAt = Date.now();
	const ticker = setInterval(() => {
		const now = Date.now();

		if (Math.abs(now - tickedAt) > SLEPT_MS) {
			wake();
		} else if (live?.heard < now - QUIET_MS && !isExpired(live.token)) {
			live.heard = NaN; // asked once
			live.check();
		}
		tickedAt = now;
	}, TICK_MS);

	listen(globalThis, 'online', wake);
	listen(globalThis, 'pageshow', (event) => event.persisted && wake());
	listen(globalThis, 'pagehide', pause);
	listen(globalThis, 'offline', check);
	listen(doc, 'freeze', pause);
	listen(doc, 'resume', wake);
	listen(doc, 'visibilitychange', () => doc.hidden || wake());

	function close() {
		if (state === 'closed')
			return;
		discardAll();
		clearTimeout(tokenTimer);
		clearInterval(ticker);
		listeners.forEach((remove) => remove());
		setState('closed');
	}

	/* To the gateway, over a WebSocket: false when there is none. */
	function send(frame) {
		live?.send?.(JSON.stringify(frame));
		return !!live?.send;
	}

	const subscription = {
		close, retry, renew, send,
		get state() { return state; },
		get transport() { return live && RUNGS[live.rung]; },
		get lastEventId() { return position; },
		set lastEventId(id) { position = id; },
	};

	/* After the caller has what we return. */
	state = 'connecting';
	Promise.resolve().then(() => {
		let first = 0;

		if (state !== 'connecting')
			return;
		try {
			first = Math.min(Number(sessionStorage.getItem(memory)) || 0, POLL);
		} catch { /* not allowed */ }
		if (!options.transports.includes(RUNGS[first]))
			first = 0;
		connect(first);
	});
	return subscription;
}

globalThis.WavelogWorker = { subscribe };
})();
