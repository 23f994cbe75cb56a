// needs: gateway/client_address.c
/*
 * Where a client really is. Headers are read from memory of just their length, so that the build
 * with sanitizers finds a byte read too many. Addresses are those kept for documentation (RFC 5737,
 * RFC 3849).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/client_address.h"
#include "shared/alloc.h"

static const struct client_address unknown; /* a UNIX socket */

static struct client_address peer_of(const char *text)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(1234)};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(1234)};

	if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
		return client_address_of_peer((const struct sockaddr *)&ipv4);
	assert_int_equal(inet_pton(AF_INET6, text, &ipv6.sin6_addr), 1);
	return client_address_of_peer((const struct sockaddr *)&ipv6);
}

static void assert_address(struct client_address address, const char *expected, const char *about)
{
	char text[CLIENT_ADDRESS_TEXT_SIZE];

	client_address_format(&address, text);
	if (strcmp(text, expected) != 0)
		fail_msg("%s: %s, not %s", about, text, expected);
}

static struct client_address resolve(const char *trusted_list, struct client_address peer,
				     const char *header, size_t len)
{
	struct trusted_proxies *trusted = trusted_proxies_new(trusted_list);
	char *exact = xreallocarray(NULL, len, 1);
	struct client_address client;

	memcpy(exact, header, len);
	client = client_address_resolve(trusted, peer, exact, len);
	free(exact);
	trusted_proxies_free(trusted);
	return client;
}

/* Behind a proxy on loopback, with 10.0.0.0/8 and 2001:db8:f::/48 trusted too. */
static void assert_client(const char *header, const char *expected)
{
	assert_address(resolve("10.0.0.0/8, 2001:db8:f::/48", peer_of("127.0.0.1"), header,
			       strlen(header)),
		       expected, header);
}

/* An entry alone; what does not parse leaves the proxy itself. */
static void assert_refused(const char *entry)
{
	assert_client(entry, "127.0.0.1");
}

static void a_peer_is_what_the_socket_says(void **state)
{
	const struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/x"};

	(void)state;
	assert_address(peer_of("192.0.2.1"), "192.0.2.1", "IPv4");
	assert_address(peer_of("2001:db8::1"), "2001:db8::1", "IPv6");
	assert_address(peer_of("::ffff:192.0.2.1"), "192.0.2.1", "IPv4 on an IPv6 socket");
	assert_address(client_address_of_peer((const struct sockaddr *)&local), "local", "UNIX");
}

static void a_peer_of_an_unknown_family_is_trusted_by_nobody(void **state)
{
	const struct sockaddr_storage nothing = {.ss_family = AF_UNSPEC};
	struct client_address peer = client_address_of_peer((const struct sockaddr *)&nothing);

	(void)state;
	assert_address(peer, "0.0.0.0", "AF_UNSPEC");
	assert_address(resolve("", peer, "192.0.2.1", 9), "0.0.0.0", "AF_UNSPEC, with a header");
}

static void both_forms_of_an_ipv4_address_are_equal(void **state)
{
	struct client_address plain = peer_of("192.0.2.1"), mapped = peer_of("::ffff:192.0.2.1");
	struct client_address other = peer_of("192.0.2.2"), compatible = peer_of("::192.0.2.1");

	(void)state;
	assert_true(client_address_equal(&plain, &mapped));
	assert_true(client_address_equal(&plain, &plain));
	assert_false(client_address_equal(&plain, &other));
	assert_false(client_address_equal(&plain, &compatible));
	assert_false(client_address_equal(&plain, &unknown));
}

static void addresses_are_printed_in_their_canonical_form(void **state)
{
	static const char *const pairs[][2] = {
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"},
		{"0:0:0:0:0:0:0:1", "::1"},
		{"::ffff:c000:201", "192.0.2.1"},
		{"255.255.255.255", "255.255.255.255"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"64:ff9b::255.255.255.255", "64:ff9b::ffff:ffff"}};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_address(peer_of(pairs[i][0]), pairs[i][1], pairs[i][0]);
}

static void the_header_of_a_stranger_is_ignored(void **state)
{
	static const char *const strangers[] = {"192.0.2.1",	   "2001:db8::1", "128.0.0.1",
						"126.255.255.255", "::2",	  "::127.0.0.1"};

	(void)state;
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		struct client_address peer = peer_of(strangers[i]);
		struct client_address client = resolve("10.0.0.0/8", peer, "198.51.100.7", 12);

		assert_true(client_address_equal(&client, &peer));
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

static void without_a_header_the_peer_counts(void **state)
{
	struct trusted_proxies *trusted = trusted_proxies_new("");
	struct client_address peer = peer_of("127.0.0.1");

	(void)state;
	assert_address(client_address_resolve(trusted, peer, NULL, 0), "127.0.0.1", "NULL");
	assert_address(client_address_resolve(trusted, unknown, NULL, 0), "local", "UNIX, NULL");
	assert_address(client_address_resolve(trusted, peer, "", 0), "127.0.0.1", "empty");
	assert_address(client_address_resolve(trusted, unknown, " ,\t,", 4), "local", "blank");
	trusted_proxies_free(trusted);
	trusted_proxies_free(NULL);
}

static void the_last_untrusted_hop_counts(void **state)
{
	(void)state;
	assert_client("198.51.100.7", "198.51.100.7");
	assert_client("203.0.113.9, 198.51.100.7", "198.51.100.7");
	assert_client("203.0.113.9, 198.51.100.7, 10.1.2.3", "198.51.100.7");
	assert_client("203.0.113.9,198.51.100.7,10.1.2.3,127.0.0.1,::1,2001:db8:f::8",
		      "198.51.100.7");
	assert_client("10.1.2.3, 198.51.100.7", "198.51.100.7");
	assert_client("junk, 198.51.100.7, 10.1.2.3", "198.51.100.7");
	assert_client("2001:db8:e::1, 10.1.2.3", "2001:db8:e::1");
}

static void when_all_hops_are_trusted_the_first_one_counts(void **state)
{
	(void)state;
	assert_client("10.9.9.9", "10.9.9.9");
	assert_client("10.9.9.9, 10.1.2.3, ::1", "10.9.9.9");
}

static void what_does_not_parse_ends_the_search(void **state)
{
	(void)state;
	assert_client("198.51.100.7, junk, 10.1.2.3", "10.1.2.3");
	assert_client("198.51.100.7, unknown, 10.2.2.2, 10.1.2.3", "10.2.2.2");
	assert_client("198.51.100.7, unix:", "127.0.0.1");
	assert_client("198.51.100.7, 10.1.2.3, _hidden", "127.0.0.1");
}

static void white_space_and_empty_entries_are_skipped(void **state)
{
	(void)state;
	assert_client("  198.51.100.7  ", "198.51.100.7");
	assert_client("\t198.51.100.7\t,\t10.1.2.3\t", "198.51.100.7");
	assert_client("198.51.100.7,", "198.51.100.7");
	assert_client(",198.51.100.7,, ,\t,10.1.2.3,", "198.51.100.7");
}

static void an_entry_may_have_a_port(void **state)
{
	(void)state;
	assert_client("198.51.100.7:80", "198.51.100.7");
	assert_client("198.51.100.7:0", "198.51.100.7");
	assert_client("198.51.100.7:65535", "198.51.100.7");
	assert_client("[2001:db8::1]:80", "2001:db8::1");
	assert_client("[2001:db8::1]", "2001:db8::1");
	assert_client("[::ffff:198.51.100.7]:80", "198.51.100.7");
	assert_client("198.51.100.7:1, 10.1.2.3:2, [::1]:3", "198.51.100.7");
	assert_client("2001:db8::1:80", "2001:db8::1:80"); /* no port without brackets */
}

static void a_broken_port_or_bracket_is_refused(void **state)
{
	static const char *const entries[] = {"198.51.100.7:",
					      "198.51.100.7:65536",
					      "198.51.100.7:99999999999",
					      "198.51.100.7:-1",
					      "198.51.100.7:+1",
					      "198.51.100.7:8x",
					      "198.51.100.7: 80",
					      "198.51.100.7 :80",
					      "198.51.100.7:080",
					      "198.51.100.7:80:80",
					      "[198.51.100.7]",
					      "[198.51.100.7]:80",
					      "[2001:db8::1",
					      "2001:db8::1]",
					      "[2001:db8::1]:",
					      "[2001:db8::1]80",
					      "[2001:db8::1]:80:80",
					      "[2001:db8::1]]:80",
					      "[[2001:db8::1]]:80",
					      "[2001:db8::1] :80",
					      "[]",
					      "[]:80",
					      "[",
					      "]",
					      "[:]",
					      ":",
					      ":80",
					      "[2001:db8::1]:65536",
					      "[ 2001:db8::1 ]:80"};

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		assert_refused(entries[i]);
}

static void what_is_not_just_an_address_is_refused(void **state)
{
	static const char *const entries[] = {
		"fe80::1%eth0",
		"fe80::1%1",
		"[fe80::1%eth0]:80",
		"\"198.51.100.7\"",
		"\"[2001:db8::1]\"",
		"for=198.51.100.7",
		"198.51.100",
		"198.51.100.7.1",
		"198.51.100.256",
		"198.51.100.07",
		"0xC6336407",
		"3325256711",
		"198.51.100.7/32",
		"198.51.100.7;",
		"198.51.100.7 x",
		"198. 51.100.7",
		"2001:db8:::1",
		"2001:db8::1::",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"2001:db8::g",
		"2001:db8::12345",
		"::ffff:1.2.3",
		"localhost",
		"unknown",
		"_secret",
		"-",
		"example.com:80",
		"198.51.100.7\n",
		"\r\n198.51.100.7",
		"198.51.100.7\x7F",
		"198.51.100.7\xC2\xA0",
		"::",
		"[::]:80",
		"0:0:0:0:0:0:0:0",
		"0000:0000:0000:0000:0000:0000:198.51.100.7777777777777777777777"};

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		assert_refused(entries[i]);
	assert_address(resolve("", peer_of("127.0.0.1"), "198.51.100.7\0", 13), "127.0.0.1", "NUL");
	assert_address(resolve("", peer_of("127.0.0.1"), "198.51.100.7\0:80", 16), "127.0.0.1",
		       "NUL before a port");
}

static void no_byte_of_a_header_comes_out(void **state)
{
	char header[] = "198.51.100.7", text[CLIENT_ADDRESS_TEXT_SIZE];
	size_t len = sizeof(header) - 1;

	(void)state;
	for (size_t place = 0; place < len; place++) {
		char was = header[place];

		for (int byte = 0; byte < 256; byte++) {
			header[place] = (char)byte;
			struct client_address client =
				resolve("", peer_of("127.0.0.1"), header, len);
			client_address_format(&client, text);
			assert_int_equal(strspn(text, "0123456789."), strlen(text));
		}
		header[place] = was;
	}
}

/* Whoever is believed passes on what it was told. */
static bool is_trusted(const char *list, const char *peer)
{
	struct client_address told = peer_of("198.51.100.7");
	struct client_address client = resolve(list, peer_of(peer), "198.51.100.7", 12);

	return client_address_equal(&client, &told);
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

static void a_header_of_commas_takes_no_time(void **state)
{
	enum { COMMAS = 1000000 };
	char *header = xcalloc(COMMAS, 1);

	(void)state;
	memset(header, ',', COMMAS);
	alarm(20);
	assert_address(resolve("", peer_of("127.0.0.1"), header, COMMAS), "127.0.0.1", "commas");
	alarm(0);
	free(header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_is_what_the_socket_says),
		cmocka_unit_test(a_peer_of_an_unknown_family_is_trusted_by_nobody),
		cmocka_unit_test(both_forms_of_an_ipv4_address_are_equal),
		cmocka_unit_test(addresses_are_printed_in_their_canonical_form),
		cmocka_unit_test(the_header_of_a_stranger_is_ignored),
		cmocka_unit_test(loopback_and_a_unix_socket_are_trusted_without_being_named),
		cmocka_unit_test(without_a_header_the_peer_counts),
		cmocka_unit_test(the_last_untrusted_hop_counts),
		cmocka_unit_test(when_all_hops_are_trusted_the_first_one_counts),
		cmocka_unit_test(what_does_not_parse_ends_the_search),
		cmocka_unit_test(white_space_and_empty_entries_are_skipped),
		cmocka_unit_test(an_entry_may_have_a_port),
		cmocka_unit_test(a_broken_port_or_bracket_is_refused),
		cmocka_unit_test(what_is_not_just_an_address_is_refused),
		cmocka_unit_test(no_byte_of_a_header_comes_out),
		cmocka_unit_test(blocks_hold_what_their_prefix_says),
		cmocka_unit_test(what_does_not_parse_in_the_list_is_skipped),
		cmocka_unit_test(a_list_of_ten_thousand_is_fine),
		cmocka_unit_test(a_header_of_commas_takes_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
