<?php
/*
 * An application in one page: a note that everybody who has it open sees change. It does what yours will do: it
 * registers a topic and makes a token when the page is rendered, and publishes after its own change.
 *
 *	make run                                                                      (in one terminal)
 *	WAVELOG_WORKER_CONFIG=run/config.yaml php -S 127.0.0.1:8000 examples/php/page.php       (in another)
 *
 * and open http://127.0.0.1:8000/ in two windows. WORKER_URL and WORKER_CLIENT_URL say where the service is, when it
 * is elsewhere.
 */

declare(strict_types=1);

require __DIR__ . '/WavelogWorker.php';

const TOPIC = 'note';

$url = getenv('WORKER_URL') ?: 'http://127.0.0.1:9001';
$client_url = getenv('WORKER_CLIENT_URL') ?: 'ws://127.0.0.1:9001/worker';
$config = (string) @file_get_contents(getenv('WAVELOG_WORKER_CONFIG') ?: 'config.yaml');
preg_match('/^worker_secret:\s*["\']?([^"\'\s]+)/m', $config, $match);
$worker = new WavelogWorker($url, $match[1] ?? '');

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
	$note = (string) ($_POST['note'] ?? '');
	// Here yours would commit to its database. The push comes after that, and only says what happened.
	$id = $worker->publish(TOPIC, ['note' => $note, 'at' => date('H:i:s')]);
	http_response_code($id ? 200 : 502);
	header('Content-Type: text/plain; charset=utf-8');
	echo $id ? "pushed as event $id" : 'not pushed: ' . $worker->error();
	return;
}
$worker->register(TOPIC);
$problem = $worker->error();
$client = preg_replace('~^ws~', 'http', $client_url) . '/client.js';
// 0 would be the id of the user who is logged in.
$settings = ['url' => $client_url, 'topic' => TOPIC, 'token' => $worker->token(TOPIC, 0, 3600)];
header('Content-Type: text/html; charset=utf-8');
header('Cache-Control: no-store'); // there is a token in it
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>A note</title>
<style>
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; }
input { font: inherit; width: 70%; padding: .3rem .5rem; }
button { font: inherit; padding: .3rem 1rem; }
#note { font-size: 1.8rem; min-height: 2.8rem; overflow-wrap: anywhere; }
#state, #said, #when { opacity: .7; }
</style>
<h1>A note</h1>
<p id="note">…</p>
<p id="when"></p>
<form id="form">
<input name="note" placeholder="Change it for everybody" autocomplete="off" autofocus>
<button>Push</button>
</form>
<p id="said"><?= htmlspecialchars($problem) ?></p>
<p id="state">connecting</p>
<script src="<?= htmlspecialchars($client) ?>"></script>
<script>
'use strict';
const settings = <?= json_encode($settings, JSON_HEX_TAG | JSON_UNESCAPED_SLASHES) ?>;
const show = (id, text) => { document.getElementById(id).textContent = text; };

WavelogWorker.subscribe({
	...settings,
	onPush: (change) => {
		show('note', change.note);
		show('when', 'changed at ' + change.at);
	},
	onState: ({ state, transport }) => show('state', transport ? `${state} by ${transport}` : state),
});

document.getElementById('form').onsubmit = async (event) => {
	event.preventDefault();
	const answer = await fetch('', { method: 'POST', body: new FormData(event.target) });
	show('said', await answer.text());
	event.target.reset();
};
</script>
