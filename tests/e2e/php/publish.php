<?php
// A publish as a web application does it: short timeouts, and one register when the topic is gone.
// Usage: php publish.php URL SECRET TOPIC PAYLOAD-AS-JSON [CA-FILE]; prints one JSON object.

declare(strict_types=1);

[, $url, $secret, $topic, $payload] = $argv;
$authority = $argv[5] ?? '';

function call(string $verb, string $body): array
{
	global $url, $secret, $authority;
	$curl = curl_init("$url/internal/$verb");
	curl_setopt_array($curl, [
		CURLOPT_POST => true,
		CURLOPT_POSTFIELDS => $body,
		CURLOPT_HTTPHEADER => ['Content-Type: application/json', "X-Worker-Secret: $secret"],
		CURLOPT_RETURNTRANSFER => true,
		CURLOPT_CONNECTTIMEOUT_MS => 500,
		CURLOPT_TIMEOUT_MS => 1000,
	]);
	if ($authority !== '')
		curl_setopt($curl, CURLOPT_CAINFO, $authority);
	$text = curl_exec($curl);
	$status = (int) curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
	$error = curl_error($curl);
	curl_close($curl);
	return ['verb' => $verb, 'status' => $status, 'body' => $text === false ? null : $text, 'error' => $error];
}

$name = json_encode($topic, JSON_THROW_ON_ERROR);
$publish = "{\"topic\":$name,\"payload\":$payload}";

$calls = [call('publish', $publish)];
if ($calls[0]['status'] === 404 && str_contains($calls[0]['body'] ?? '', 'topic not registered')) {
	$calls[] = call('register', "{\"topic\":$name,\"meta\":{\"require_token\":true}}");
	$calls[] = call('publish', $publish);
}
echo json_encode($calls, JSON_THROW_ON_ERROR), "\n";
