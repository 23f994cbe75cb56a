<?php
/*
 * wavelog-worker where a web server runs PHP and nothing else: one file that hands requests on to the API, PHP 7.4 to 8.3.
 *
 *	https://www.example.org/worker.php/internal/publish	for PHP (worker_urls: https://www.example.org/worker.php)
 *	https://www.example.org/worker.php/poll?topic=...	for browsers
 *	https://www.example.org/worker.php/readyz		for uptime checks
 *
 * or, with a rewrite to this file, any URL that ends so; or worker.php?/internal/publish, where a web server passes PHP
 * no path. The API is reached at its socket, or started for each request. It gets the end of the path, the query, the few
 * headers that it looks at, and the body, of which 1 MiB may come; the answer is its own. What goes wrong is in PHP's
 * error log.
 *
 * The settings below may stand in worker-settings.php beside this file instead, as `<?php return ['socket' => ...];`
 */
declare(strict_types=1);

$settings = [
	// Where the API listens (wavelog-worker-api --listen): 'unix:/home/me/worker/api.sock', '127.0.0.1:9010';
	// '' for nowhere.
	'socket' => '',
	// The program, to be started when nobody listens there, and its configuration; '' for never.
	'program' => '/home/me/worker/wavelog-worker-api',
	'config' => '/home/me/worker/config.yaml',
	// Who may use /internal/, beside knowing the secret: addresses; 'local' is this machine, and '*' is everybody.
	'internal_from' => ['local'],
	// Seconds for all of a request, and bytes of the longest answer.
	'timeout' => 10,
	'max_answer' => 16 * 1024 * 1024,
];

const BODY_MAX = 1024 * 1024, VALUE_MAX = 8192, LOG_MAX = 8192;
// What the API looks at.
const PASSED_ON = ['HTTP_X_WORKER_SECRET', 'HTTP_ORIGIN', 'HTTP_X_FORWARDED_FOR', 'REMOTE_ADDR'];

/** An answer of this file's own. */
final class Refusal extends Exception
{
}

function server(string $name): string
{
	$value = $_SERVER[$name] ?? '';
	return is_string($value) ? $value : '';
}

/**
 * The API's path and the query behind it. Where a web server knows no path behind a file's name: worker.php?/poll?topic=...
 * A path that says what is asked for counts alone: rules of the web server may depend on it.
 */
function asked_for(): array
{
	$path = server('PATH_INFO') !== '' ? server('PATH_INFO') : (string)strtok(server('REQUEST_URI'), '?#');
	$query = server('QUERY_STRING');
	$verb = '#/(?:internal/[a-z]{1,32}|poll|readyz)$#D';
	if (!preg_match($verb, $path) && $query !== '' && $query[0] === '/')
		[$path, $query] = preg_split('/[?&]/', $query, 2) + [1 => ''];
	// The end is all that counts, and all that is handed on.
	if (!preg_match($verb, $path, $found))
		throw new Refusal('not found', 404);
	return [$found[0], $query];
}

function check_caller(string $path, array $allowed): void
{
	$caller = server('REMOTE_ADDR');
	$is_local = $caller === '::1' || strncmp($caller, '127.', 4) === 0 || ($caller !== '' && $caller === server('SERVER_ADDR'));
	if (strncmp($path, '/internal/', 10) === 0 && !in_array('*', $allowed, true) && !in_array($caller, $allowed, true) &&
		!($is_local && in_array('local', $allowed, true)))
		throw new Refusal('forbidden', 403);
}

/** As much as the API needs to see that there is too much. */
function read_body(): string
{
	return (string)file_get_contents('php://input', false, null, 0, BODY_MAX + 1);
}

/** php-fpm keeps chunked bodies to itself. The API, which looks at path, method and secret first, is told of a byte. */
function is_withheld(string $body): bool
{
	return $body === '' && server('HTTP_TRANSFER_ENCODING') !== '';
}

function describe_request(string $path, string $query, string $body): array
{
	// PHP keeps multipart/form-data to itself, and what is longer than post_max_size: the API sees by the length.
	$announced = server('CONTENT_LENGTH');
	$is_length = preg_match('/^\d{1,18}$/D', $announced); // ctype is an extension, which may be missing
	$variables = [
		'GATEWAY_INTERFACE' => 'CGI/1.1',
		'SERVER_PROTOCOL' => 'HTTP/1.1',
		'REQUEST_METHOD' => server('REQUEST_METHOD'),
		'SCRIPT_NAME' => $path,
		'REQUEST_URI' => $query === '' ? $path : "$path?$query",
		'QUERY_STRING' => $query,
		'CONTENT_LENGTH' => $is_length ? $announced : (string)(strlen($body) + (int)is_withheld($body)),
	];
	foreach (PASSED_ON as $name)
		$variables[$name] = server($name);
	// Apache keeps it to itself, unless CGIPassAuth is on.
	$headers = function_exists('apache_request_headers') ? array_change_key_case(apache_request_headers() ?: []) : [];
	foreach ([server('HTTP_AUTHORIZATION'), server('REDIRECT_HTTP_AUTHORIZATION'), $headers['authorization'] ?? ''] as $value)
		if ($value !== '' && !isset($variables['HTTP_AUTHORIZATION']))
			$variables['HTTP_AUTHORIZATION'] = $value;
	foreach ($variables as $name => $value)
		if (strlen($value) > VALUE_MAX || strpos($value, "\0") !== false)
			throw new Refusal('bad request: a header or the URL is too long', 400);
	return array_filter($variables, fn(string $value): bool => $value !== '');
}

/**
 * Writes $input to one stream and reads others to their ends, or until $is_complete() says so.
 * Returns what came of each.
 */
function exchange($to, string $input, array $from, float $deadline, int $limit, ?callable $is_complete = null): array
{
	$output = array_fill_keys(array_keys($from), '');
	foreach (array_merge([$to], array_values($from)) as $stream)
		stream_set_blocking($stream, false);
	for ($written = 0; $from && !($is_complete && $is_complete($output)); ) {
		if ($to && $written >= strlen($input) && !in_array($to, $from, true)) {
			fclose($to);
			$to = null;
		}
		$readable = $from;
		$writable = $to && $written < strlen($input) ? [$to] : null;
		$others = null;
		$left = $deadline - microtime(true);
		if ($left <= 0)
			throw new Refusal('the API does not answer in time', 504); // not 503: it may have done what it was asked
		if (!@stream_select($readable, $writable, $others, (int)$left, (int)(fmod($left, 1) * 1e6)))
			continue;
		if ($writable) {
			$count = @fwrite($to, substr($input, $written, 65536));
			$written = $count ? $written + $count : strlen($input); // whoever does not read has his answer ready
		}
		foreach ($readable as $name => $stream) {
			$piece = (string)@fread($stream, 65536);
			if ($piece === '' && feof($stream))
				unset($from[$name]);
			if (strlen($output[$name]) + strlen($piece) > $limit)
				throw new Refusal("bad gateway: the API's answer is too long", 502);
			$output[$name] .= $piece;
		}
	}
	return $output;
}

function fastcgi_records(int $type, string $content): string
{
	$records = '';
	foreach ($content === '' ? [''] : array_merge(str_split($content, 65535), ['']) as $piece)
		$records .= pack('CCnnCC', 1, $type, 1, strlen($piece), 0, 0) . $piece;
	return $records;
}

/** The answer, or null while it is not complete. */
function fastcgi_answer(string $records): ?string
{
	$answer = '';
	for ($at = 0; $at + 8 <= strlen($records); $at += 8 + $header['length'] + $header['padding']) {
		$header = unpack('Cversion/Ctype/nid/nlength/Cpadding', $records, $at);
		if ($header['version'] !== 1)
			throw new Refusal('bad gateway: what answers is not the API', 502);
		if ($at + 8 + $header['length'] > strlen($records))
			return null;
		if ($header['type'] === 6) // STDOUT
			$answer .= substr($records, $at + 8, $header['length']);
		if ($header['type'] === 3) // END_REQUEST
			return $answer;
	}
	return null;
}

/** Null: nobody listens there. */
function ask_socket(string $socket, array $variables, string $body, float $deadline, int $limit): ?string
{
	$where = strncmp($socket, 'unix:', 5) === 0 ? 'unix://' . substr($socket, 5) : "tcp://$socket";
	$stream = @stream_socket_client($where, $number, $why, 2.0);
	if (!$stream)
		return null;
	$parameters = '';
	foreach ($variables as $name => $value) {
		foreach ([strlen($name), strlen($value)] as $length)
			$parameters .= $length < 128 ? chr($length) : pack('N', $length | 0x80000000);
		$parameters .= $name . $value;
	}
	$request = pack('CCnnCCnCx5', 1, 1, 1, 8, 0, 0, 1, 0) . fastcgi_records(4, $parameters) . fastcgi_records(5, $body);
	$answer = null;
	$looked = 0;
	exchange($stream, $request, [$stream], $deadline, $limit, function (array $output) use (&$answer, &$looked): bool {
		// Its end has 16 bytes; a long answer is not gone through for each piece.
		if (strlen($output[0]) < 2 * $looked && strlen($output[0]) > 65536 && substr($output[0], -16, 2) !== "\1\3")
			return false;
		$looked = strlen($output[0]);
		return ($answer = fastcgi_answer($output[0])) !== null;
	});
	fclose($stream);
	if ($answer === null)
		throw new Refusal("bad gateway: the API's answer is not complete", 502);
	return $answer;
}

/** Null: it cannot be started. Leaves the process in $process: it may have something to do after the answer. */
function ask_program(array $settings, array $variables, string $body, float $deadline, &$process): ?string
{
	if (!function_exists('proc_open'))
		return null;
	$variables['WAVELOG_WORKER_CONFIG'] = $settings['config'];
	$process = @proc_open([$settings['program']], [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes, '/', $variables);
	if (!is_resource($process))
		return null;
	// The answer ends where output 1 does; of the log we take what is there by then. Whether the program is there at all
	// is seen by its end: PHP itself may not look where there is an open_basedir.
	$has_ended = function () use ($pipes): bool {
		return feof($pipes[1]);
	};
	try {
		$output = exchange($pipes[0], $body, [1 => $pipes[1], 2 => $pipes[2]], $deadline, $settings['max_answer'], $has_ended);
	} catch (Refusal $refusal) {
		proc_terminate($process, 9);
		throw $refusal;
	}
	if ($output[1] === '' && proc_close($process) === 127)
		return null;
	if ($output[2] !== '')
		if_there('error_log', rtrim(substr($output[2], 0, LOG_MAX)));
	return $output[1];
}

function send(string $answer): void
{
	[$head, $body] = explode("\r\n\r\n", $answer, 2) + [1 => null];
	if ($body === null || !preg_match('/^Status: (([1-5]\d\d)(?: [ -~]*)?)\r$/m', "$head\r", $status))
		throw new Refusal("bad gateway: the API's answer is not complete", 502);
	$protocol = server('SERVER_PROTOCOL') ?: 'HTTP/1.1';
	header("$protocol $status[1]", true, (int)$status[2]);
	foreach (explode("\r\n", $head) as $line)
		if (strncmp($line, 'Status:', 7) !== 0)
			header($line, false);
	echo $body;
}

/** An answer of this file's own. A page of another origin may read it at /poll: it says nothing of allowed_origins. */
function refuse(int $status, string $text): void
{
	http_response_code($status);
	header('Content-Type: text/plain; charset=utf-8');
	header('X-Content-Type-Options: nosniff');
	if (preg_match('#/poll(?:[?&]|$)#D', server('REQUEST_URI')))
		header('Access-Control-Allow-Origin: *');
	if ($status === 503)
		header('Retry-After: 1');
	header('Content-Length: ' . (strlen($text) + 1));
	echo "$text\n";
}

/** Calls a function, unless the host has taken it away: then PHP 8 would throw. */
function if_there(string $function, ...$arguments): void
{
	if (function_exists($function))
		$function(...$arguments);
}

/** Nothing that PHP may add or change, and nothing that it may tell. */
function be_silent(): void
{
	if_there('ini_set', 'display_errors', '0');
	if_there('ini_set', 'zlib.output_compression', '0');
	if_there('ini_set', 'default_mimetype', '');
	header_remove('X-Powered-By');
	if_there('ignore_user_abort', true);
	while (ob_get_level() > 0 && @ob_end_clean()) // what cannot be taken away stays
		continue;
}

be_silent();
$process = null;
try {
	ob_start(); // editors put bytes before <?php, which would be the beginning of the answer
	if (is_file(__DIR__ . '/worker-settings.php'))
		$settings = (require __DIR__ . '/worker-settings.php') + $settings;
	ob_end_clean();
	$deadline = microtime(true) + $settings['timeout'];
	[$path, $query] = asked_for();
	check_caller($path, $settings['internal_from']);
	$body = read_body();
	$variables = describe_request($path, $query, $body);
	$answer = $settings['socket'] === '' ? null
		: ask_socket($settings['socket'], $variables, $body, $deadline, $settings['max_answer']);
	if ($answer === null && $settings['program'] !== '')
		$answer = ask_program($settings, $variables, $body, $deadline, $process);
	if ($answer === null) {
		if_there('error_log', 'wavelog-worker: nobody listens at the socket of worker.php, or its program cannot be started');
		throw new Refusal('unavailable: the API cannot be reached', 503);
	}
	if (is_withheld($body) && strncmp($answer, 'Status: 400 ', 12) === 0)
		throw new Refusal('length required', 411);
	send($answer);
} catch (Refusal $refusal) {
	refuse($refusal->getCode(), $refusal->getMessage());
} catch (Throwable $error) {
	if_there('error_log', 'wavelog-worker: ' . $error->getMessage());
	refuse(500, "worker.php: see PHP's error log");
}
if (is_resource($process)) {
	// What the program does after its answer is on nobody's time.
	function_exists('fastcgi_finish_request') ? fastcgi_finish_request() : flush();
	proc_close($process);
}
