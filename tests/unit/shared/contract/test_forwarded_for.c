/*
 * Where a client really is: addresses of sockets, and which of the hops in a header counts. The
 * entries of a header are in test_forwarded_for_entry.c, who is believed in
 * test_forwarded_for_trusted.c.
 */
#include "tests/unit/shared/contract/forwarded_for_fixture.h"

#include <sys/un.h>
#include <unistd.h>

static void a_peer_is_what_the_socket_says(void **state)
{
	const struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/x"};

	(void)state;
	assert_address(peer_of("192.0.2.1"), "192.0.2.1", "IPv4");
	assert_address(peer_of("2001:db8::1"), "2001:db8::1", "IPv6");
	assert_address(peer_of("::ffff:192.0.2.1"), "192.0.2.1", "IPv4 on an IPv6 socket");
	assert_address(client_address_of_peer((const struct sockaddr *)&local), "local", "UNIX");
}

static void both_forms_of_an_ipv4_address_are_equal(void **state)
{
	struct client_address plain = peer_of("192.0.2.1"), mapped = peer_of("::ffff:192.0.2.1");
	struct client_address other = peer_of("192.0.2.2"), compatible = peer_of("::192.0.2.1");

	(void)state;
	assert_memory_equal(&plain, &mapped, sizeof(plain));
	assert_memory_equal(&plain, &plain, sizeof(plain));
	assert_memory_not_equal(&plain, &other, sizeof(plain));
	assert_memory_not_equal(&plain, &compatible, sizeof(plain));
	assert_memory_not_equal(&plain, &unknown, sizeof(plain));
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

static void without_a_header_the_peer_counts(void **state)
{
	struct client_address peer = peer_of("127.0.0.1");

	(void)state;
	assert_address(forwarded_for_resolve("", peer, NULL, 0), "127.0.0.1", "NULL");
	assert_address(forwarded_for_resolve("", unknown, NULL, 0), "local", "UNIX, NULL");
	assert_address(forwarded_for_resolve("", peer, "", 0), "127.0.0.1", "empty");
	assert_address(forwarded_for_resolve("", unknown, " ,\t,", 4), "local", "blank");
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
		cmocka_unit_test(both_forms_of_an_ipv4_address_are_equal),
		cmocka_unit_test(addresses_are_printed_in_their_canonical_form),
		cmocka_unit_test(without_a_header_the_peer_counts),
		cmocka_unit_test(the_last_untrusted_hop_counts),
		cmocka_unit_test(when_all_hops_are_trusted_the_first_one_counts),
		cmocka_unit_test(what_does_not_parse_ends_the_search),
		cmocka_unit_test(white_space_and_empty_entries_are_skipped),
		cmocka_unit_test(a_header_of_commas_takes_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
