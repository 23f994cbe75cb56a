/*
 * An entry of the header that says where a client is: an address with or without a port and nothing
 * else, and whatever it is, none of its bytes comes out.
 */
#include "tests/unit/shared/contract/forwarded_for_fixture.h"

/* An entry alone; what does not parse leaves the proxy itself. */
static void assert_refused(const char *entry)
{
	assert_client(entry, "127.0.0.1");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_may_have_a_port),
		cmocka_unit_test(a_broken_port_or_bracket_is_refused),
		cmocka_unit_test(what_is_not_just_an_address_is_refused),
		cmocka_unit_test(no_byte_of_a_header_comes_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
