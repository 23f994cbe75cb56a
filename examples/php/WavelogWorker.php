<?php
/*
 * A client for wavelog-worker: one file, PHP 7.4 or newer (64-bit) with the curl extension, nothing else.
 *
 *	$worker = new WavelogWorker('http://127.0.0.1:9001', $secret);
 *	$worker->register('contest.42');                                  // when the page is rendered
 *	$token = $worker->token('contest.42', $user_id);                  // for the page
 *	if (!$worker->publish('contest.42', ['call' => 'DL1ABC']))        // after your own commit
 *		error_log('push: ' . $worker->error());
 *
 * The URL is what stands before /internal: http://127.0.0.1:9001, https://www.example.org/worker,
 * https://www.example.org/worker/worker.php, .../wavelog-worker.fcgi, or one that ends in /internal itself.
 *
 * A push that fails must not take your application down with it: nothing here throws (but for PHP's own TypeError,
 * when an argument is of the wrong type). What fails returns null, or false, and error() says why in one line,
 * without the secret. Calls take their time from your visitors, so each has a limit, which includes whatever it
 * tries again.
 *
 * Options (third argument), all of them with their defaults:
 *	'timeout_ms'         => 2000    a call lasts no longer than this
 *	'connect_timeout_ms' => 1000    and connecting no longer than this
 *	'require_token'      => true    what register() and publish() register a topic with unless they are told
 *	'retry'              => false   true: after a 503 with Retry-After wait as long as it says, and try once more, if
 *	                                both fit into timeout_ms. A page that somebody waits for has no time for that; a
 *	                                job that runs in the background has
 *	'socket'             => ''      path of a UNIX socket on which the web server listens (for HTTP)
 *	'curl'               => []      further options of curl, such as [CURLOPT_CAINFO => '/path/ca.pem']; CURLOPT_HTTPHEADER
 *	                                would take the place of our headers, the secret among them
 *
 * An object keeps its connection: make one and use it for all calls. Should the web server end that connection after it
 * has passed a publish on and before any of the answer, curl sends it again by itself, and the event comes twice.
 */

declare(strict_types=1);

class WavelogWorker
{
	private const DEFAULTS = [
		'timeout_ms' => 2000,
		'connect_timeout_ms' => 1000,
		'require_token' => true,
		'retry' => false,
		'socket' => '',
		'curl' => [],
	];
	private const JSON = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
	private const MAX_DEPTH = 1023;       // of a payload: the service takes 1,024, the object around it included
	private const MAX_ANSWER = 16777216;  // bytes: a status that lists a hundred thousand topics is shorter
	private const MAX_REMEMBERED = 10000; // topics

	/** @var string */
	private $base;
	/** @var string */
	private $secret;
	/** @var array */
	private $options;
	/** @var array<string, bool> what topics were registered with, by this object */
	private $registered = [];
	/** @var string what is wrong with the arguments of the constructor: no call is made */
	private $misuse = '';
	/** @var resource|CurlHandle|null */
	private $curl = null;
	/** @var int of the process whose connection it is */
	private $pid = 0;
	/** @var string */
	private $error = '';
	/** @var int */
	private $code = 0;

	public function __construct(string $url, string $secret, array $options = [])
	{
		$this->base = (string) preg_replace('~(/internal)?/*$~D', '', $url);
		$this->secret = $secret;
		$this->options = $options + self::DEFAULTS;
		foreach (self::DEFAULTS as $name => $default) {
			if (gettype($this->options[$name]) !== gettype($default))
				$this->misuse = "the option $name must be of type " . gettype($default);
		}
		$unknown = array_keys(array_diff_key($options, self::DEFAULTS));
		if ($unknown)
			$this->misuse = "unknown option '{$unknown[0]}'";
		elseif (!preg_match('~^https?://[^\s\x00-\x1f]+$~Di', $this->base))
			$this->misuse = 'the URL must begin with http:// or https://';
		elseif (!preg_match('/^[^\x00-\x1f\x7f]+$/D', $secret))
			$this->misuse = 'the secret is empty, or has control characters in it';
		elseif (PHP_INT_SIZE < 8)
			$this->misuse = 'a 64-bit PHP is needed: the integers of this one are too short for the ids of events';
		elseif (!function_exists('curl_init'))
			$this->misuse = 'the curl extension of PHP is missing: ask your host to enable it (package php-curl)';
		elseif (!function_exists('curl_exec') || !function_exists('curl_setopt_array'))
			$this->misuse = 'PHP may not use curl here: ask your host to take curl_exec out of disable_functions';
	}

	/** Why the last call failed, in one line; '' when it did not. */
	public function error(): string
	{
		return $this->error;
	}

	/** The HTTP status that the last call ended with; 0: there was no answer. */
	public function statusCode(): int
	{
		return $this->code;
	}

	/** Makes a topic known, or renews it. Without $require_token: as before in this object, else as the option says. */
	public function register(string $topic, ?bool $require_token = null): bool
	{
		$deadline = $this->begin();
		$name = $this->encode('topic', $topic);
		return $name !== null && $this->registerAt($deadline, $topic, $name, $require_token);
	}

	/** Forgets a topic, and ends the connections of its subscribers. */
	public function unregister(string $topic): bool
	{
		$deadline = $this->begin();
		$name = $this->encode('topic', $topic);
		if ($name === null || $this->post($deadline, 'unregister', "{\"topic\":$name}") === null)
			return false;
		unset($this->registered[$topic]);
		return true;
	}

	/**
	 * Sends anything that json_encode takes to all browsers on the topic. Returns the event's id once it is committed,
	 * null when that failed. An empty PHP array is [] in JSON; write (object) [] for {}.
	 *
	 * A topic that has expired is registered again, with what $require_token says (see register()).
	 */
	public function publish(string $topic, $payload, ?bool $require_token = null): ?int
	{
		$deadline = $this->begin();
		$json = $this->encode('payload', $payload);
		return $json === null ? null : $this->publishAt($deadline, $topic, $json, $require_token);
	}

	/** The same with a payload that is JSON already: its bytes reach browsers as they are. */
	public function publishJson(string $topic, string $json, ?bool $require_token = null): ?int
	{
		$deadline = $this->begin();
		json_decode($json, true, self::MAX_DEPTH);
		// It goes into the body as it is: what is not exactly one value could say something else there.
		if (json_last_error() !== JSON_ERROR_NONE) {
			$this->error = 'the payload is not JSON: ' . json_last_error_msg();
			return null;
		}
		return $this->publishAt($deadline, $topic, $json, $require_token);
	}

	/** Ends the connections of a user, to a topic, or of a user to a topic. Returns how many; null when it failed. */
	public function disconnect(?string $topic = null, ?int $user_id = null): ?int
	{
		$deadline = $this->begin();
		$whom = [];
		if ($topic !== null)
			$whom['topic'] = $topic;
		if ($user_id !== null)
			$whom['user_id'] = $user_id;
		$body = $this->encode('topic', (object) $whom);
		return $body === null ? null : $this->number($this->post($deadline, 'disconnect', $body), 'sockets');
	}

	/**
	 * The counts of the service, as an array; ['status' => 'degraded', ...] when no gateway runs. null when there was
	 * no answer. $topics: true lists all topics, false none; without it the first thousand.
	 */
	public function status(?bool $topics = null): ?array
	{
		$query = $topics === null ? '' : '?topics=' . (int) $topics;
		$text = $this->call($this->begin(), 'GET', "status$query", null);
		$status = json_decode((string) $text, true);
		if ($this->code === 503 && is_array($status))
			$this->error = '';
		elseif ($this->error === '' && !is_array($status))
			$this->error = 'not the answer of wavelog-worker; is the URL right?';
		return $this->error === '' ? $status : null;
	}

	/** What a browser shows to subscribe to the topic, for so many seconds. '' when that failed. */
	public function token(string $topic, int $user_id = 0, int $seconds = 86400): string
	{
		$this->begin();
		$claims = ['user_id' => $user_id, 'topic' => $topic, 'expires' => time() + $seconds];
		$claims = $this->encode('topic', $claims);
		if ($claims === null || $this->error !== '')
			return '';
		return bin2hex($claims) . '.' . hash_hmac('sha256', bin2hex($claims), $this->secret);
	}

	/** Every public call begins here. Returns the moment at which it must be over. */
	private function begin(): float
	{
		$this->error = $this->misuse;
		$this->code = 0;
		return self::now() + ($this->misuse === '' ? $this->options['timeout_ms'] : 0);
	}

	/** Milliseconds of a clock that nobody sets. */
	private static function now(): float
	{
		return hrtime(true) / 1e6;
	}

	private function encode(string $what, $value): ?string
	{
		try {
			$json = json_encode($value, self::JSON, self::MAX_DEPTH);
			if ($json !== false)
				return $json;
			$this->error = "the $what cannot be JSON: " . json_last_error_msg();
		} catch (Throwable $thrown) { // by a JsonSerializable
			$this->error = "the $what cannot be JSON: " . self::oneLine($thrown->getMessage());
		}
		return null;
	}

	private function registerAt(float $deadline, string $topic, string $name, ?bool $require_token): bool
	{
		$required = $require_token ?? $this->registered[$topic] ?? $this->options['require_token'];
		$flag = $required ? 'true' : 'false';
		if ($this->post($deadline, 'register', "{\"topic\":$name,\"meta\":{\"require_token\":$flag}}") === null)
			return false;
		$this->registered[$topic] = $required;
		if (count($this->registered) > self::MAX_REMEMBERED)
			unset($this->registered[array_key_first($this->registered)]);
		return true;
	}

	private function publishAt(float $deadline, string $topic, string $json, ?bool $require_token): ?int
	{
		$name = $this->encode('topic', $topic);
		if ($name === null)
			return null;
		$body = "{\"topic\":$name,\"payload\":$json}";
		$answer = $this->post($deadline, 'publish', $body);
		if ($this->code === 404 && strpos($this->error, 'topic not registered') !== false) {
			if (!$this->registerAt($deadline, $topic, $name, $require_token))
				return null;
			$answer = $this->post($deadline, 'publish', $body);
		}
		return $this->number($answer, 'id');
	}

	/** A member of an answer that must be an integer. */
	private function number(?string $answer, string $member): ?int
	{
		if ($answer === null)
			return null;
		$decoded = json_decode($answer, true);
		if (is_array($decoded) && is_int($decoded[$member] ?? null))
			return $decoded[$member];
		$this->error = 'not the answer of wavelog-worker; is the URL right?';
		return null;
	}

	/** The body of a 200, else null. */
	private function post(float $deadline, string $verb, string $body): ?string
	{
		$answer = $this->call($deadline, 'POST', $verb, $body);
		return $this->error === '' ? $answer : null;
	}

	/** One request, and with 'retry' a second one. Returns the body; error() is set unless the status was 200. */
	private function call(float $deadline, string $method, string $verb, ?string $body): ?string
	{
		if ($this->misuse !== '')
			return null;
		$wait_s = null;
		$answer = $this->request($deadline, $method, $verb, $body, $wait_s);
		if ($this->code === 503 && $this->options['retry'] && $wait_s !== null
			&& self::now() + $wait_s * 1000 < $deadline) {
			usleep($wait_s * 1000000);
			$answer = $this->request($deadline, $method, $verb, $body, $wait_s);
		}
		return $answer;
	}

	private function request(float $deadline, string $method, string $verb, ?string $body, ?int &$wait_s): ?string
	{
		$this->code = 0;
		$left_ms = (int) ($deadline - self::now());
		if ($left_ms < 1) {
			$this->error = 'timeout_ms is over';
			return null;
		}
		$answer = '';
		$wait_s = null;
		$options = $this->options['curl'] + [
			CURLOPT_URL => "$this->base/internal/$verb",
			CURLOPT_CUSTOMREQUEST => $method,
			CURLOPT_HTTPHEADER => [
				'Content-Type: application/json',
				"X-Worker-Secret: $this->secret",
				'Expect:', // or curl waits a second before it sends a long body, with servers that do not answer it
			],
			CURLOPT_CONNECTTIMEOUT_MS => max(1, min($left_ms, $this->options['connect_timeout_ms'])),
			CURLOPT_TIMEOUT_MS => $left_ms,
			CURLOPT_NOSIGNAL => true,
			CURLOPT_PROXY => '', // a proxy in the environment is not for this, and the secret not for it
			CURLOPT_HEADERFUNCTION => static function ($curl, string $line) use (&$wait_s): int {
				if (preg_match('/^retry-after: *([0-9]{1,6})\s*$/i', $line, $match))
					$wait_s = (int) $match[1];
				return strlen($line);
			},
			CURLOPT_WRITEFUNCTION => static function ($curl, string $piece) use (&$answer): int {
				$answer .= $piece;
				return strlen($answer) > self::MAX_ANSWER ? 0 : strlen($piece);
			},
		];
		if ($body !== null)
			$options[CURLOPT_POSTFIELDS] = $body;
		if ($this->options['socket'] !== '')
			$options[CURLOPT_UNIX_SOCKET_PATH] = $this->options['socket'];
		if (!$this->perform($options))
			return null;
		$this->code = (int) curl_getinfo($this->curl, CURLINFO_RESPONSE_CODE);
		$this->error = $this->code === 200 ? '' : $this->explain($answer);
		return $answer;
	}

	/** An exchange of curl's. PHP 8 throws when an option of the caller is not one. */
	private function perform(array $options): bool
	{
		try {
			$pid = function_exists('getmypid') ? (int) getmypid() : 0;
			if (!$this->curl || $pid !== $this->pid) // a fork's answers would get mixed up with its parent's
				$this->curl = curl_init();
			$this->pid = $pid;
			curl_reset($this->curl); // keeps the connection
			$good = curl_setopt_array($this->curl, $options) && curl_exec($this->curl) !== false;
			$why = curl_error($this->curl);
		} catch (Throwable $thrown) {
			$good = false;
			$why = $thrown->getMessage();
		}
		if (!$good)
			$this->error = self::oneLine($why ?: 'an option of curl was refused');
		return $good;
	}

	private function explain(string $answer): string
	{
		$redirect = (string) curl_getinfo($this->curl, CURLINFO_REDIRECT_URL);
		if ($redirect !== '')
			return "$this->code: sent on to $redirect; use that address";
		// The service says why in one line; anything longer is somebody else's page.
		return "$this->code: " . (strlen($answer) < 300 && strpos($answer, '<') === false
			? self::oneLine($answer) : 'not the answer of wavelog-worker; is the URL right?');
	}

	private static function oneLine(string $text): string
	{
		return trim((string) preg_replace('/[\x00-\x1f\x7f]+/', ' ', substr($text, 0, 300)));
	}
}
