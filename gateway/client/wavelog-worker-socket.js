/*
 * A stand-in for WebSocket, for scripts that know nothing else (Wavelog's): those to our own
 * address become subscriptions of wavelog-worker.js, which go down the whole ladder and come back
 * after every break. All other WebSockets stay the browser's.
 *
 *	<script src="/worker/client-socket.js"></script>
 *
 * before the scripts that use it; `data-url` names the address before /ws when it is not the folder
 * of this script. The gateway and the tarball have this file with wavelog-worker.js in front of it.
 *
 * Until auth_ok it behaves as a socket does: what cannot be reached is closed with 1006. Afterwards
 * it stays open, whatever happens underneath, as long as nothing is lost; when something is, it is
 * closed with 1013, so that the script connects again and fetches the state anew.
 */
(function () {
'use strict';

const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;
const PATIENCE_MS = 700; // scripts give up after 1.5 s
const ERROR_CLOSES = { topic_unregistered: 1000 };
const AUTH_REQUIRED = { code: 'auth_required', message: 'first frame must be {type:auth,token:...}' };

const { subscribe } = globalThis.WavelogWorker;
const Native = globalThis.WebSocket;

class StandIn extends EventTarget {
	#url;
	#state = CONNECTING;
	#subscription;
	#auth; // the first message, once it is there
	#gotAuth;
	#isLive = false;
	#isRenewing = false;
	binaryType = 'blob';

	constructor(url, topic, options) {
		super();

		const auth = new Promise((resolve) => { this.#gotAuth = resolve; });

		this.#url = url;
		this.#subscription = subscribe({
			patienceMs: PATIENCE_MS, ...options, topic,
			getToken: async () => { // some transport is ready for it
				this.#open();
				await auth;
				return this.#auth.token;
			},
			onState: (news) => this.#onState(news),
			onPush: (payload, { id, text }) => this.#bring(this.#resumes && id !== undefined
				? `{"type":"push","id":${JSON.stringify(id)},"payload":${text}}` : `{"type":"push","payload":${text}}`),
			onMessage: (frame, text) => this.#bring(text),
			onRenewed: (frame, text) => {
				if (this.#isRenewing)
					this.#bring(text);
				this.#isRenewing = false;
			},
			onError: (fault) => fault.code in ERROR_CLOSES && this.#isLive && this.#refuse(fault),
			onGap: () => this.#isLive && this.#end(1013, 'events may be missing', true),
		});
	}

	get #resumes() { return this.#auth.last_event_id !== undefined; }
	get url() { return this.#url; }
	get readyState() { return this.#state; }
	get bufferedAmount() { return 0; }
	get protocol() { return ''; }
	get extensions() { return ''; }

	send(data) {
		let frame = {};

		if (this.#state === CONNECTING)
			throw new DOMException('Still in CONNECTING state.', 'InvalidStateError');
		if (this.#state !== OPEN)
			return;
		try {
			frame = Object(JSON.parse(data));
		} catch { /* the gateway takes no notice of it either */ }
		if (!this.#auth)
			this.#first(frame);
		else if (frame.type === 'auth')
			this.#renew(frame);
		else
			this.#subscription.send(frame);
	}

	close(code, reason = '') {
		if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999))
			throw new DOMException(`The close code must be 1000, or between 3000 and 4999.`, 'InvalidAccessError');
		if (new TextEncoder().encode(reason).length > 123)
			throw new DOMException('The reason must be no longer than 123 bytes.', 'SyntaxError');
		if (this.#state === CONNECTING)
			this.#end(1006, '', false);
		else
			this.#end(code ?? 1005, reason, true);
	}

	#first(frame) {
		const { type, token, last_event_id: from } = frame;

		if (type !== 'auth' || !(token == null || typeof token === 'string') ||
			!(from == null || typeof from === 'string' || (Number.isSafeInteger(from) && from >= 0)))
			return this.#refuse(AUTH_REQUIRED);
		this.#auth = frame;
		if (from != null)
			this.#subscription.lastEventId = from;
		this.#gotAuth();
	}

	#renew(frame) {
		this.#auth = { ...this.#auth, token: frame.token };
		this.#isRenewing = this.#subscription.send(frame);
		if (!this.#isRenewing) { // the next request shows it
			this.#subscription.renew();
			this.#bring('{"type":"auth_ok"}');
		}
	}

	#onState({ state, recovered, lastEventId, ...fault }) {
		if (state === 'live' && !this.#isLive) {
			this.#isLive = true;
			this.#bring(JSON.stringify({
				type: 'auth_ok', ...(this.#resumes && { last_event_id: lastEventId, recovered }),
			}));
		} else if (state === 'refused') {
			this.#refuse(fault);
		} else if (state === 'waiting' && !this.#isLive) {
			this.#end(1006, '', false);
		}
	}

	#open() {
		if (this.#state !== CONNECTING)
			return;
		this.#state = OPEN;
		this.dispatchEvent(new Event('open'));
	}

	#bring(data) {
		if (this.#state === OPEN)
			this.dispatchEvent(new MessageEvent('message', { data, origin: new URL(this.#url).origin }));
	}

	#refuse({ code, message }) {
		this.#open();
		this.#bring(JSON.stringify({ type: 'error', code, message }));
		this.#end(ERROR_CLOSES[code] ?? 1008, '', true);
	}

	#end(code, reason, wasClean) {
		if (this.#state >= CLOSING)
			return;
		this.#state = CLOSING;
		this.#subscription.close();
		setTimeout(() => {
			this.#state = CLOSED;
			if (!wasClean)
				this.dispatchEvent(new Event('error'));
			this.dispatchEvent(new CloseEvent('close', { code, reason, wasClean }));
		});
	}
}

for (const type of ['open', 'message', 'error', 'close']) {
	const handlers = new WeakMap();

	Object.defineProperty(StandIn.prototype, 'on' + type, {
		get() { return handlers.get(this) ?? null; },
		set(handler) {
			if (!handlers.has(this))
				this.addEventListener(type, (event) => handlers.get(this)?.call(this, event));
			handlers.set(this, typeof handler === 'function' ? handler : null);
		},
	});
}
Object.setPrototypeOf(StandIn.prototype, Native.prototype); // instanceof WebSocket

/* The topic of an address below `base`, or nothing: then the WebSocket is not ours. */
function topicOf(url, base) {
	try {
		const ours = new URL(base, location.href);

		if (url.host === ours.host && url.pathname === ours.pathname.replace(/(\/ws)?\/*$/, '/ws'))
			return decodeURIComponent(/[?&]topic=([^&]+)/.exec(url.search)[1]);
	} catch { /* no topic, or none that can be read */ }
}

function replaceWebSocket(options) {
	const Previous = globalThis.WebSocket;
	const proxy = new Proxy(Previous, {
		construct(target, given, newTarget) {
			const [address, protocols = []] = given;
			const url = new URL(address, location.href);
			const topic = newTarget === proxy && topicOf(url, options.url);
			const names = [].concat(protocols).map(String);

			if (!topic)
				return Reflect.construct(target, given, newTarget === proxy ? target : newTarget);
			if (new Set(names).size < names.length || !names.every((name) => /^[!#$%&'*+.^_`|~\w-]+$/.test(name)))
				throw new DOMException(`The subprotocols are not good.`, 'SyntaxError');
			url.protocol = url.protocol.replace('http', 'ws');
			return new StandIn(url.href, topic, options);
		},
	});

	globalThis.WebSocket = proxy;
}

globalThis.WavelogWorker.replaceWebSocket = replaceWebSocket;

const script = document.currentScript;

if (script?.src)
	replaceWebSocket({ url: script.dataset.url ?? new URL('.', script.src).href, pollUrl: script.dataset.pollUrl });
})();
