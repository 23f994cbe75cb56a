<?php
// Makes calls of examples/php/WavelogWorker.php and prints what came of each. stdin, one JSON object: url, secret,
// options, and calls: [[method, [argument, ...]], ...]. A string that begins with "base64:" stands for other bytes,
// "float:" for a number that JSON cannot write; a method that begins with "other." is called on another object, one that
// begins with "forked." by a child.
// Usage: php client.php WavelogWorker.php

declare(strict_types=1);

error_reporting(E_ALL);
set_error_handler(static function (int $level, string $message): bool {
	fwrite(STDERR, "$message\n");
	exit(1);
});
require $argv[1];

function unpacked($value)
{
	if (is_array($value))
		return array_map('unpacked', $value);
	if (is_string($value) && strncmp($value, 'base64:', 7) === 0)
		return base64_decode(substr($value, 7));
	if (is_string($value) && strncmp($value, 'float:', 6) === 0)
		return ['nan' => NAN, 'inf' => INF, 'one' => 1.0][substr($value, 6)];
	if ($value === 'throws')
		return new class implements JsonSerializable {
			#[ReturnTypeWillChange]
			public function jsonSerialize()
			{
				throw new RuntimeException("not\ntoday");
			}
		};
	return $value;
}

$task = json_decode(stream_get_contents(STDIN), true, 2048, JSON_THROW_ON_ERROR);
$construct = [$task['url'], unpacked($task['secret']), $task['options']];
$first = new WavelogWorker(...$construct);
$results = [];
foreach ($task['calls'] as [$method, $arguments]) {
	$other = strncmp($method, 'other.', 6) === 0;
	$worker = $other ? new WavelogWorker(...$construct) : $first;
	$method = substr($method, $other ? 6 : 0);
	$start = hrtime(true);
	if (strncmp($method, 'forked.', 7) === 0) {
		$child = pcntl_fork();
		if ($child === 0)
			exit($worker->{substr($method, 7)}(...unpacked($arguments)) ? 0 : 1);
		pcntl_waitpid($child, $code);
		$value = $code === 0;
	} else {
		$value = $worker->$method(...unpacked($arguments));
	}
	$results[] = [
		'value' => $value,
		'error' => $worker->error(),
		'code' => $worker->statusCode(),
		'ms' => (hrtime(true) - $start) / 1e6,
	];
}
echo json_encode($results, JSON_THROW_ON_ERROR | JSON_PARTIAL_OUTPUT_ON_ERROR);
