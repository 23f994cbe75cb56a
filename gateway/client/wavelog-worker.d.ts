/* The types of wavelog-worker.js (where it is the global WavelogWorker) and of wavelog-worker.mjs. */

export as namespace WavelogWorker;

export type Transport = 'websocket' | 'stream' | 'poll';
export type State = 'connecting' | 'live' | 'waiting' | 'refused' | 'paused' | 'closed';

/** Why something failed; `status` of an HTTP answer, `closeCode` of a WebSocket. */
export interface Fault {
	/** auth_required, unauthorized, auth_expired, disconnected, topic_unregistered, not_registered,
	 * origin, token (getToken failed), http, network or timeout. */
	code?: string;
	message?: string;
	status?: number;
	closeCode?: number;
}

/** A number, or in a cluster a text: to be handed back as it is. */
export type EventId = number | string;

export interface News extends Fault {
	state: State;
	/** The one that is live, or null. */
	transport: Transport | null;
	/** When live: false when pushes may be missing; then onGap was called. */
	recovered?: boolean;
	/** When live: the position. */
	lastEventId?: EventId | null;
	/** When waiting or refused: until it tries again. */
	retryMs?: number;
}

export interface Options {
	/** What stands before /ws, in any scheme and relative or not: "/worker", "wss://example.org/worker". */
	url: string | URL;
	/** Where to poll, if not at `url` + "/poll". */
	pollUrl?: string | URL;
	topic: string;
	/** A topic that needs a token takes one of these. getToken is asked again before a token expires. */
	token?: string;
	getToken?: () => string | undefined | Promise<string | undefined>;
	/** Each push, once and in order. `text` is the payload as it was published. */
	onPush?: (payload: any, push: { id: EventId; text: string }) => void;
	onState?: (news: News) => void;
	/** Pushes may have been missed: fetch the state anew. */
	onGap?: () => void;
	/** A token was refused, or a topic is not there: trying again goes on where that makes sense. */
	onError?: (fault: Fault) => void;
	/** Other messages: the answers on worker.status. */
	onMessage?: (message: any, text: string) => void;
	/** Resume after this push; null, the default, is from now. */
	lastEventId?: EventId | null;
	/** Which may be used. */
	transports?: readonly Transport[];
	/** All in milliseconds. */
	patienceMs?: number;
	retryMs?: number;
	retryMaxMs?: number;
	climbMs?: number;
	climbMaxMs?: number;
	pollMs?: number;
	pollMaxMs?: number;
	pollHiddenMs?: number;
	/** How many tabs of a browser may stream; the others poll. */
	streams?: number;
}

export interface Subscription {
	readonly state: State;
	readonly transport: Transport | null;
	/** The last push that was delivered. */
	lastEventId: EventId | null;
	close(): void;
	/** Try now. */
	retry(): void;
	/** Ask getToken for another token now. */
	renew(): Promise<void>;
	/** A message to the gateway, such as {type: 'status'}; false when it is not live by WebSocket. */
	send(message: object): boolean;
}

/** Throws a TypeError when url or topic is none. */
export function subscribe(options: Options): Subscription;

/** Of wavelog-worker-socket.js only: what loading it by a script tag does by itself. */
export function replaceWebSocket(options: Pick<Options, 'url' | 'pollUrl'> & Partial<Options>): void;
