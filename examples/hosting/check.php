<?php
/*
 * What can this host do for wavelog-worker? For hosts without a shell; where there is one, install.sh finds out by
 * itself.
 *
 *	1. Put a key of your own between the quotes below, 16 characters or more. Whoever knows it may ask.
 *	2. Upload this file into a folder of your site, and wavelog-worker-api beside it if you have it: then it is tried.
 *	3. Open it in a browser, and give the key.
 *	4. Delete both when you have read the answer.
 *
 * It tries things out in a folder beside itself with a random name, through your site's own address, and removes that
 * folder again. It changes nothing else. To strangers it says nothing.
 */

const KEY = '';

const REQUEST_S = 8; // for one request to the site
const STREAM_S = 2;  // for the first words of an answer that goes on

// What is asked of Apache in one .htaccess file, each in its own folder. {base} is the folder's path in the URL.
const CGI = [
	'cgi' => "Options +ExecCGI\nAddHandler cgi-script .cgi\n",
	'cgi, without Options' => "AddHandler cgi-script .cgi\n",
];
const FCGID = [
	'fcgid' => "Options +ExecCGI\nAddHandler fcgid-script .fcgi\n",
	'fcgid, without Options' => "AddHandler fcgid-script .fcgi\n",
];
const REWRITE = "RewriteEngine On\nRewriteBase {base}\n";

if (PHP_SAPI === 'cli')
	exit("This is a page: upload it and open it in a browser.\n");
header('Content-Type: text/html; charset=utf-8');
header('Cache-Control: no-store');
header('X-Robots-Tag: noindex');
if (strlen(KEY) < 16) {
	http_response_code(403);
	exit("<p>Put a key of 16 characters or more into this file first: see its first lines.\n");
}
$given = isset($_POST['key']) && is_string($_POST['key']) ? $_POST['key'] : '';
if (!hash_equals(KEY, $given)) {
	http_response_code(403);
	exit('<form method="post"><p>Key: <input type="password" name="key" autofocus> <button>Check</button></form>' . "\n");
}

header('Content-Type: text/plain; charset=utf-8');
header('X-Accel-Buffering: no');
attempt('error_reporting', 0);
attempt('set_error_handler', function () { // where a host has taken that away
	return true;
});
attempt('ignore_user_abort', true); // what is put there is removed again, whoever goes away
attempt('set_time_limit', 180);
attempt('umask', 022); // the web server has to read what is tried

$folder = __DIR__ . '/wavelog-worker-check-' . bin2hex(random_bytes(8));
$elsewhere = null; // a folder outside the site, made for this run
register_shutdown_function('clean_up');
report();

function clean_up()
{
	global $folder, $elsewhere;
	if ($elsewhere !== null) {
		// What mod_fcgid has started for the probe.
		$pid = (int) @file_get_contents("$elsewhere/pid");
		if ($pid > 1)
			run(['/bin/kill', (string) $pid]);
		remove($elsewhere);
	}
	remove($folder);
}

function remove($path)
{
	if (is_link($path) || !is_dir($path))
		return @unlink($path);
	foreach (array_diff(@scandir($path) ?: [], ['.', '..']) as $name)
		remove("$path/$name");
	return @rmdir($path);
}

/** What a function says, or null: hosts take functions away, and PHP 8 throws then. */
function attempt($function, ...$arguments)
{
	return function_exists($function) ? @$function(...$arguments) : null;
}

/** One line of the report. $good: true, false, or null when nobody knows. */
function say($good, $what, $hint = '')
{
	echo $good === null ? '  ?   ' : ($good ? '  yes ' : '  NO  '), $what, "\n";
	if ($hint !== '')
		echo '         ', $hint, "\n";
	@ob_flush();
	flush();
}

function report()
{
	echo "wavelog-worker: what this host can do\n\nPHP and the account\n";
	$php = report_php();
	echo "\nThe web server (each tried through the site's own address)\n";
	$web = report_web($php);
	echo "\n", conclusion($php, $web);
}

// PHP and the account.

function report_php()
{
	global $elsewhere;
	say(PHP_VERSION_ID >= 70400, 'PHP ' . PHP_VERSION . ' (' . PHP_SAPI . ')', PHP_VERSION_ID >= 70400 ? '' : 'choose 7.4 or newer in the panel');
	say(extension_loaded('curl'), 'the curl extension', extension_loaded('curl') ? '' : 'WavelogWorker.php needs it: enable it in the panel');
	$machine = attempt('php_uname', 'm') ?: 'a processor that PHP may not name';
	$kernel = attempt('php_uname', 'r');
	say($kernel ? PHP_OS === 'Linux' && version_compare($kernel, '3.10', '>=') : null, PHP_OS . " $kernel on $machine",
		'take the archive for this processor');
	$off = preg_replace('/[\s,]+/', ' ', (string) attempt('ini_get', 'disable_functions'));
	if ($off !== '')
		say(null, 'functions that are switched off in PHP', $off);
	$basedir = (string) attempt('ini_get', 'open_basedir');
	say($basedir === '', 'PHP may open files everywhere in the account', $basedir === '' ? '' : "open_basedir: $basedir");

	$elsewhere = folder_outside();
	say($elsewhere !== null, 'a folder outside the site that PHP may write to' . ($elsewhere === null ? '' : ': ' . dirname($elsewhere)),
		$elsewhere === null ? 'programs, configuration and database need one' : '');
	$can_run = report_programs($elsewhere);
	if ($elsewhere !== null)
		report_disk($elsewhere);
	report_limits();
	return $can_run + ['folder' => $elsewhere];
}

/** A new folder outside the site, for this run only; null when there is no place for one. */
function folder_outside()
{
	$site = realpath((string) $_SERVER['DOCUMENT_ROOT']) ?: __DIR__;
	$account = attempt('posix_getpwuid', (int) attempt('posix_geteuid')) ?: ['dir' => ''];
	foreach ([$account['dir'], (string) attempt('getenv', 'HOME'), dirname($site), dirname($site, 2)] as $place) {
		$real = $place === '' ? false : realpath($place);
		if (!$real || $real === '/' || strpos("$real/", "$site/") === 0)
			continue;
		$new = "$real/.wavelog-worker-check-" . bin2hex(random_bytes(8));
		if (@mkdir($new, 0711))
			return $new;
	}
	return null;
}

/** A word of a shell's. */
function quoted($text)
{
	return "'" . str_replace("'", "'\\''", $text) . "'";
}

/** Output of a command, or null. */
function run(array $command)
{
	if (!function_exists('proc_open'))
		return null;
	$line = PHP_VERSION_ID >= 70400 ? $command : implode(' ', array_map('quoted', $command));
	// Where PHP runs by CGI, its environment would tell wavelog-worker-api that this is a request.
	$environment = ['PATH' => attempt('getenv', 'PATH') ?: '/usr/local/bin:/usr/bin:/bin'];
	// No file: PHP may not open /dev/null where there is an open_basedir.
	$process = @proc_open($line, [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes, null, $environment);
	if (!is_resource($process))
		return null;
	fclose($pipes[0]);
	stream_set_blocking($pipes[1], false);
	$output = '';
	$end = microtime(true) + 5;
	while (!feof($pipes[1]) && microtime(true) < $end && strlen($output) < 4096) {
		$read = [$pipes[1]];
		$none = null;
		stream_select($read, $none, $none, 0, 200000);
		$output .= (string) fread($pipes[1], 4096);
	}
	if (!feof($pipes[1]))
		attempt('proc_terminate', $process, 9);
	fclose($pipes[1]);
	attempt('proc_close', $process);
	return $output;
}

function report_programs($elsewhere)
{
	$runs = strpos((string) run(['/bin/sh', '-c', 'echo good']), 'good') !== false;
	say($runs, 'PHP may start programs (proc_open)', $runs ? '' : 'then worker.php can only talk to an API that something else has started');
	$found = is_file(__DIR__ . '/wavelog-worker-api');
	$version = null;
	if ($runs && $elsewhere !== null) {
		$copy = "$elsewhere/program";
		if ($found) {
			attempt('copy', __DIR__ . '/wavelog-worker-api', $copy);
			attempt('chmod', $copy, 0755);
			$version = trim((string) run([$copy, '--version']));
		} else { // PHP itself may not read /bin where there is an open_basedir
			$version = trim((string) run(['/bin/sh', '-c', 'cp /bin/true ' . quoted($copy) . ' && ' . quoted($copy) . ' && echo good']));
		}
		say($version !== '', $found ? "wavelog-worker-api runs here: $version" : 'a program that is copied there runs',
			$version !== '' ? '' : 'the place is mounted noexec, or the host forbids programs of its customers');
	}
	if (!$found)
		say(null, 'wavelog-worker-api itself', 'upload it beside this file, and it is tried');
	if ($runs) {
		$crontab = trim((string) run(['/bin/sh', '-c', 'command -v crontab'])) !== '';
		say($crontab ? true : null, 'cron from PHP', 'look into the panel: how often may a line run? Not needed when the API may start the gateway');
	}
	return ['run' => $runs, 'program' => $version !== null && $version !== '', 'found' => $found && $version];
}

function report_disk($elsewhere)
{
	$free = attempt('disk_free_space', $elsewhere) ?: null;
	$enough = $free === null ? null : $free > 100e6;
	say($enough, $free === null ? 'free disk space' : sprintf('%.1f GB of free disk space', $free / 1e9), 'your quota may be smaller: 100 MB is plenty');
	$handle = fopen("$elsewhere/lock", 'w');
	$locks = $handle && flock($handle, LOCK_EX | LOCK_NB);
	$kind = '';
	$longest = -1;
	foreach (explode("\n", (string) @file_get_contents('/proc/self/mounts')) as $line) {
		$field = explode(' ', $line);
		if (count($field) > 2 && strpos("$elsewhere/", rtrim($field[1], '/') . '/') === 0 && strlen($field[1]) >= $longest) {
			$longest = strlen($field[1]);
			$kind = $field[2];
		}
	}
	$remote = preg_match('/^(nfs|cifs|smb|fuse\.|ceph|gluster|lustre|9p)/', $kind);
	say($locks && !$remote, 'a local disk with locks' . ($kind === '' ? '' : " ($kind)"), $locks && !$remote ? ''
		: 'the database must not lie on a network file system: ask for a local folder, or put state_dir below /tmp if that stays');
}

function report_limits()
{
	$limits = (string) @file_get_contents('/proc/self/limits');
	$rows = ['Max processes' => 30, 'Max open files' => 256, 'Max address space' => 268435456];
	foreach ($rows as $name => $least) {
		if (!preg_match("/^$name +(\\S+)/m", $limits, $match)) {
			say(null, strtolower($name));
			continue;
		}
		$good = $match[1] === 'unlimited' || $match[1] >= $least;
		say($good, strtolower($name) . ': ' . $match[1], $good ? '' : 'little: ' . ($name === 'Max open files' ? 'it bounds the browsers' : 'ask for more'));
	}
	say(null, 'memory of a PHP request: ' . attempt('ini_get', 'memory_limit'));
	say(null, 'how long a program that was started may stay', 'ask: "May one small process of mine keep running?" If not, browsers poll');
}

// The web server.

function report_web(array $php)
{
	global $folder;
	$web = ['reached' => false, 'htaccess' => false, 'cgi' => false, 'fcgid' => false, 'ws' => false, 'stream' => false, 'path' => false];
	$server = (string) ($_SERVER['SERVER_SOFTWARE'] ?? '');
	$word = bin2hex(random_bytes(8));
	if (!@mkdir($folder, 0755) || !@file_put_contents("$folder/word.txt", $word)) {
		say(false, 'PHP may write into the folder of this file, to try things out', 'make it writable, or put this file into another one');
		return $web;
	}
	$answer = ask('', 'word.txt');
	$web['reached'] = strpos($answer['raw'], $word) !== false;
	say($web['reached'], "the site can be reached from itself ($server)", $web['reached'] ? ''
		: "status {$answer['status']} {$answer['why']}: nothing below could be tried; is there a login in front of this folder?");
	if (!$web['reached'])
		return $web;

	file_put_contents("$folder/path.php", '<?php echo "' . $word . '", $_SERVER["PATH_INFO"] ?? "";');
	$web['path'] = strpos(ask('', 'path.php/a/b')['raw'], "$word/a/b") !== false;
	$web['htaccess'] = probe('rewrite', REWRITE . "RewriteRule ^asked$ word.txt [L]\n", ['word.txt' => $word], 'asked', $word);
	say($web['htaccess'], '.htaccess files with mod_rewrite count', $web['htaccess'] ? '' : 'the site cannot use CGI, FastCGI or a proxy by itself');
	say($web['path'], 'a PHP file gets the path behind its name', $web['path'] ? '' : 'then its address is .../worker.php? with a question mark at the end');
	if (!$web['htaccess'])
		return $web;
	report_cgi($web, $php, $word);
	report_proxy($web, $php);
	return $web;
}

/** Puts files and an .htaccess into a folder of their own; is the word in what the site answers? */
function probe($name, $htaccess, array $files, $path, $word, &$answer = null, $headers = '', $peer = null)
{
	global $folder;
	$place = preg_replace('/\W+/', '-', $name);
	mkdir("$folder/$place", 0755);
	file_put_contents("$folder/$place/.htaccess", str_replace('{base}', base_path() . basename($folder) . "/$place/", $htaccess));
	foreach ($files as $file => $content) {
		file_put_contents("$folder/$place/$file", $content);
		attempt('chmod', "$folder/$place/$file", preg_match('/cgi$/', $file) ? 0755 : 0644);
	}
	$answer = ask($place, $path, $headers, $peer);
	return strpos($answer['raw'], $word) !== false && strpos($answer['raw'], '#!/bin/sh') === false;
}

function report_cgi(array &$web, array $php, $word)
{
	$program = $php['found'] ? "{$php['folder']}/program" : '';
	$script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s%s ' $word ''\nid -u\n"
		. ($program === '' ? '' : "unset GATEWAY_INTERFACE REQUEST_METHOD\n" . quoted($program) . " --version\n");
	foreach (CGI as $name => $lines) {
		if (probe($name, $lines, ['probe.cgi' => $script], 'probe.cgi', $word, $answer)) {
			$web['cgi'] = $name;
			break;
		}
	}
	$mine = $web['cgi'] && preg_match("/$word (\\d+)/", $answer['raw'], $match) && (int) $match[1] === attempt('fileowner', __FILE__);
	say((bool) $web['cgi'], 'CGI programs' . ($web['cgi'] ? ($mine ? ' (as you)' : ' (as another user)') : ''),
		!$web['cgi'] || $mine ? '' : 'the configuration must be readable for that user, so keep the secret in a folder that only it can reach');
	$web['fcgid'] = probe('modules', REWRITE . "<IfModule mod_fcgid.c>\nRewriteRule ^asked$ word.txt [L]\n</IfModule>\n", ['word.txt' => $word], 'asked', $word);
	if ($web['fcgid'] && $program !== '') {
		file_put_contents("{$php['folder']}/config.yaml", 'worker_secret: "' . bin2hex(random_bytes(24)) . "\"\nstate_dir: \"{$php['folder']}/state\"\n");
		$web['fcgid'] = false;
		foreach (FCGID as $name => $lines) {
			$script = "#!/bin/sh\necho \$\$ >" . quoted("{$php['folder']}/pid") . "\nexec " . quoted($program) . ' -c ' . quoted("{$php['folder']}/config.yaml") . "\n";
			if (probe($name, $lines, ['probe.fcgi' => $script], 'probe.fcgi/readyz', 'unavailable: ')) {
				$web['fcgid'] = $name;
				break;
			}
		}
	}
	say((bool) $web['fcgid'], 'FastCGI (mod_fcgid)' . ($program === '' && $web['fcgid'] ? ': the module is there' : ''));
}

/** A gateway for a moment: this script listens, and the site has to pass its own request on to it. */
function report_proxy(array &$web, array $php)
{
	$addresses = [];
	if ($php['folder'] !== null && strlen($php['folder']) < 90)
		$addresses['a UNIX socket'] = "unix://{$php['folder']}/probe.sock";
	$addresses['a port on 127.0.0.1'] = 'tcp://127.0.0.1:0';
	foreach ($addresses as $name => $address) {
		$why = 'PHP may not (stream_socket_server is switched off)';
		$listener = function_exists('stream_socket_server') ? @stream_socket_server($address, $code, $why) : false;
		if (!$listener) {
			say(false, "listening on $name", (string) $why);
			continue;
		}
		$at = stream_socket_get_name($listener, false);
		if ($address[0] === 'u') {
			attempt('chmod', "{$php['folder']}/probe.sock", 0666);
			$to = ["unix:{$php['folder']}/probe.sock|http://localhost", "unix:{$php['folder']}/probe.sock|ws://localhost"];
		} else {
			$to = ["http://$at", "ws://$at"];
		}
		$http = $ws = false;
		$first = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n\r\ndata: proxied\n\n";
		$reached = probe("stream $name", REWRITE . "RewriteRule ^asked$ \"$to[0]/asked\" [P,L]\n", [], 'asked', 'proxied', $answer, '', [$listener, $first]);
		$http = $reached && $answer['live'];
		$key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " . base64_encode(random_bytes(16)) . "\r\n";
		$first = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x07proxied";
		$ws = probe("websocket $name", REWRITE . "RewriteRule ^asked$ \"$to[1]/asked\" [P,L]\n", [], 'asked', 'proxied', $answer, $key, [$listener, $first])
			&& $answer['status'] === 101 && $answer['live'];
		say($reached, "a proxy from .htaccess to $name");
		if ($reached) {
			say($http, '    answers that go on pass through at once', $http ? '' : 'something collects them first');
			say($ws, '    WebSockets pass through', $ws ? '' : 'the Upgrade is lost on the way');
		}
		fclose($listener);
		$web['stream'] = $web['stream'] ?: ($http ? $name : false);
		$web['ws'] = $web['ws'] ?: ($ws ? $name : false);
		if ($http && $ws)
			break;
	}
}

// Requests to the site itself.

function site()
{
	$tls = (!empty($_SERVER['HTTPS']) && $_SERVER['HTTPS'] !== 'off') || ($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https';
	$host = (string) ($_SERVER['HTTP_HOST'] ?? 'localhost');
	$name = preg_replace('/:\d+$/', '', $host);
	$port = preg_match('/:(\d+)$/', $host, $match) ? $match[1] : ($tls ? '443' : '80');
	return ['address' => ($tls ? 'ssl' : 'tcp') . "://$name:$port", 'host' => $host, 'name' => $name];
}

/** The URL's path of the folder of this file, as it is sent; RewriteBase wants it so, too. */
function base_path()
{
	$path = rtrim(dirname((string) $_SERVER['SCRIPT_NAME']), '/') . '/';
	return implode('/', array_map('rawurlencode', explode('/', $path)));
}

/**
 * GETs a path below the folder. $peer: a listener, and what to say to the one who comes there; 'live': it arrived here
 * while that connection was still open.
 */
function ask($place, $path, $headers = '', $peer = null)
{
	global $folder;
	$site = site();
	$url = base_path() . basename($folder) . ($place === '' ? '' : "/$place") . "/$path";
	$result = ['status' => 0, 'raw' => '', 'why' => 'stream_socket_client is switched off in PHP', 'live' => false];
	if (!function_exists('stream_socket_client'))
		return $result;
	$context = stream_context_create(['ssl' => ['verify_peer' => false, 'verify_peer_name' => false, 'peer_name' => $site['name']]]);
	$socket = @stream_socket_client($site['address'], $code, $result['why'], 5, STREAM_CLIENT_CONNECT, $context);
	if (!$socket)
		return $result;
	fwrite($socket, "GET $url HTTP/1.1\r\nHost: {$site['host']}\r\n" . ($headers ?: "Connection: close\r\n") . "\r\n");
	stream_set_blocking($socket, false);
	$inner = null;
	$request = '';
	$said_at = 0;
	$end = microtime(true) + REQUEST_S;
	while (!feof($socket) && microtime(true) < $end && strlen($result['raw']) < 65536) {
		$read = array_filter([$socket, $inner ?: ($peer && !$said_at ? $peer[0] : null)]);
		$none = null;
		stream_select($read, $none, $none, 0, 50000);
		if ($peer && !$inner && !$said_at)
			$inner = @stream_socket_accept($peer[0], 0) ?: null;
		if ($inner && !$said_at) {
			$request .= (string) fread($inner, 8192);
			if (strpos($request, "\r\n\r\n") !== false) {
				fwrite($inner, $peer[1]);
				$said_at = microtime(true);
			}
		}
		while (($piece = (string) fread($socket, 8192)) !== '')
			$result['raw'] .= $piece;
		if ($inner && $said_at) {
			$result['live'] = strpos($result['raw'], 'proxied') !== false;
			if ($result['live'] || microtime(true) > $said_at + STREAM_S) {
				fclose($inner);
				$inner = null;
				$end = min($end, microtime(true) + 0.3);
			}
		}
		// Somebody else's answer; the connection may stay open after it.
		if ($peer && !$said_at && strpos($result['raw'], "\r\n\r\n") !== false)
			$end = min($end, microtime(true) + 0.3);
		if ($inner && feof($inner))
			$inner = null;
	}
	$result['status'] = preg_match('~^HTTP/\S+ (\d+)~', $result['raw'], $match) ? (int) $match[1] : 0;
	fclose($socket);
	return $result;
}

// What follows from all that.

function conclusion(array $php, array $web)
{
	$lines = ["The best way here\n"];
	if (!$web['reached'])
		return "The site could not ask itself, so nothing can be said about it.\n";
	if ($php['folder'] === null)
		$lines[] = "Without a folder outside the site there is nowhere to put programs, configuration and database: ask your host for one.\n";
	if ($web['fcgid'])
		$lines[] = "PHP reaches the API by FastCGI: the recipe \"Proxy and FastCGI\".\n";
	elseif ($web['cgi'])
		$lines[] = "PHP reaches the API by CGI: the recipe \"Proxy and CGI\".\n";
	elseif ($php['run'] && $php['program'])
		$lines[] = "PHP reaches the API by worker.php, which starts the program: the recipe \"PHP only\".\n";
	else
		return "Neither the web server nor PHP may start a program here: this host cannot run wavelog-worker. Ask it for CGI.\n";
	if ($web['ws'])
		$lines[] = "Browsers get events by WebSocket, over {$web['ws']}.\n";
	elseif ($web['stream'])
		$lines[] = "Browsers get events as a stream, over {$web['stream']}: WebSockets do not pass.\n";
	else
		$lines[] = "Browsers poll: there is no way to a gateway, and none is needed (the recipe \"No proxy\").\n";
	if ($web['ws'] || $web['stream'])
		$lines[] = "The gateway is started by the API: gateway_autostart: true. If the host ends it, browsers poll until it is back.\n";
	$lines[] = "\nThe recipes are in docs/shared-hosting.md. Now delete this file" . ($php['found'] ? ' and wavelog-worker-api' : '') . " from the site.\n";
	return implode('', $lines);
}
