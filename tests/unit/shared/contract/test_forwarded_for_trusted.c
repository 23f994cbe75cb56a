/*
 * Who is believed when it says where a client is: the list of trusted proxies, and who is trusted
 * without being in it.
 */
#include "tests/unit/shared/contract/forwarded_for_fixture.h"

#include <unistd.h>

static void a_peer_of_an_unknown_family_is_trusted_by_nobody(void **state)
{
	const struct sockaddr_storage nothing = {.ss_family = AF_UNSPEC};
	struct client_address peer = client_address_of_peer((const struct sockaddr *)&nothing);

	(void)state;
	assert_address(peer, "0.0.0.0", "AF_UNSPEC");
	assert_address(resolve("", peer, "192.0.2.1", 9), "0.0.0.0", "AF_UNSPEC, with a header");
}

static void the_header_of_a_stranger_is_ignored(void **state)
{
	static const char *const strangers[] = {"192.0.2.1",	   "2001:db8::1", "128.0.0.1",
						"126.255.255.255", "::2",	  "::127.0.0.1"};

	(void)state;
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		struct client_address peer = peer_of(strangers[i]);
		struct client_address client = resolve("10.0.0.0/8", peer, "198.51.100.7", 12);

		assert_true(memcmp(&client, &peer, sizeof(struct client_address)) == 0);
	}
}

static void loopback_and_a_unix_socket_are_trusted_without_being_named(void **state)
{
	static const char *const peers[] = {"127.0.0.1", "127.255.255.254", "::1",
					    "::ffff:127.0.0.1"};

	(void)state;
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
		assert_address(resolve("", peer_of(peers[i]), "198.51.100.7", 12), "198.51.100.7",
			       peers[i]);
	assert_address(resolve("", unknown, "198.51.100.7", 12), "198.51.100.7", "UNIX");
}

/* Whoever is believed passes on what it was told. */
static bool is_trusted(const char *list, const char *peer)
{
	struct client_address told = peer_of("198.51.100.7");
	struct client_address client = resolve(list, peer_of(peer), "198.51.100.7", 12);

	return memcmp(&client, &told, sizeof(struct client_address)) == 0;
}

static void blocks_hold_what_their_prefix_says(void **state)
{
	static const struct {
		const char *block, *inside, *outside;
	} cases[] = {
		{"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
		{"10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"},
		{"10.0.0.0/8", "10.0.0.0", "9.255.255.255"},
		{"10.77.88.99/8", "10.1.2.3",
		 "11.77.88.99"}, /* more than the prefix is no matter */
		{"172.16.0.0/12", "172.31.255.255", "172.32.0.0"},
		{"192.0.2.128/25", "192.0.2.255", "192.0.2.127"},
		{"192.0.2.4/30", "192.0.2.7", "192.0.2.8"},
		{"192.0.2.4/31", "192.0.2.5", "192.0.2.6"},
		{"192.0.2.4/32", "192.0.2.4", "192.0.2.5"},
		{"192.0.2.4", "192.0.2.4", "192.0.2.5"},
		{"128.0.0.0/1", "255.0.0.1", "126.0.0.1"},
		{"0.0.0.0/0", "203.0.113.1", "2001:db8::1"},
		{"::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"},
		{"::ffff:192.0.2.4", "192.0.2.4", "192.0.2.5"},
		{"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
		{"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
		{"2001:db8::1", "2001:db8::1", "2001:db8::2"},
		{"2001:db8::2/127", "2001:db8::3", "2001:db8::4"},
		{"2001:db8::2/128", "2001:db8::2", "2001:db8::3"},
		{"8000::/1", "ffff::1", "7fff::1"},
		{"::/0", "2001:db8::1", "192.0.2.1"}, /* all of IPv6, not IPv4 */
		{"::/80", "::2", "192.0.2.1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!is_trusted(cases[i].block, cases[i].inside))
			fail_msg("%s is not in %s", cases[i].inside, cases[i].block);
		if (is_trusted(cases[i].block, cases[i].outside))
			fail_msg("%s is in %s", cases[i].outside, cases[i].block);
	}
}

static void what_does_not_parse_in_the_list_is_skipped(void **state)
{
	static const char *const junk[] = {"192.0.2.0/33",
					   "192.0.2.0/-1",
					   "192.0.2.0/",
					   "192.0.2.0/024",
					   "192.0.2.0/2x",
					   "192.0.2.0/ 24",
					   "192.0.2.0 /24",
					   "192.0.2.0/24/24",
					   "/24",
					   "192.0.2.0/4294967320",
					   "192.0.2",
					   "192.0.2.1:80",
					   "[::ffff:c000:201]",
					   "*",
					   "all",
					   "\"192.0.2.1\"",
					   "::ffff:192.0.2.1%1",
					   "::ffff:192.0.2.1/129"};
	char list[128];

	(void)state;
	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		if (is_trusted(junk[i], "192.0.2.1"))
			fail_msg("%s is taken", junk[i]);
		snprintf(list, sizeof(list), "10.0.0.1,%s , 10.0.0.2", junk[i]);
		assert_true(is_trusted(list, "10.0.0.1") && is_trusted(list, "10.0.0.2"));
		assert_false(is_trusted(list, "192.0.2.1"));
	}
	assert_true(is_trusted(" ,,\t192.0.2.1 ,", "192.0.2.1"));
}

static void a_list_of_ten_thousand_is_fine(void **state)
{
	enum { ENTRIES = 10000, ENTRY_SIZE = 24, HOPS = 200 };
	char *list = xcalloc(ENTRIES, ENTRY_SIZE), *header = xcalloc(HOPS, ENTRY_SIZE);
	size_t len = 0, header_len = 0;

	(void)state;
	for (int i = 0; i < ENTRIES; i++)
		len += (size_t)snprintf(list + len, ENTRY_SIZE, "%s10.%d.%d.0/24", i ? "," : "",
					i / 256, i % 256);
	for (int i = 0; i < HOPS; i++)
		header_len += (size_t)snprintf(header + header_len, ENTRY_SIZE, "%s10.39.%d.7",
					       i ? ", " : "10.39.16.1, ", i % 16);
	alarm(20);
	assert_address(resolve(list, peer_of("10.0.0.1"), header, header_len), "10.39.16.1",
		       "the first that is not in it");
	assert_true(is_trusted(list, "10.39.15.200"));
	assert_false(is_trusted(list, "10.39.16.200"));
	alarm(0);
	free(header);
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_of_an_unknown_family_is_trusted_by_nobody),
		cmocka_unit_test(the_header_of_a_stranger_is_ignored),
		cmocka_unit_test(loopback_and_a_unix_socket_are_trusted_without_being_named),
		cmocka_unit_test(blocks_hold_what_their_prefix_says),
		cmocka_unit_test(what_does_not_parse_in_the_list_is_skipped),
		cmocka_unit_test(a_list_of_ten_thousand_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
