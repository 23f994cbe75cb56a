/*
 * Auth frames, see credentials.h. Pure but for the clock.
 */
#include "tests/bench/credentials.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "shared/base/clock.h"
#include "tests/bench/fail.h"

enum { CLAIMS_MAX = 400, DAY_S = 86400, SIGNATURE_BYTES = 32 };

static void to_hex(const unsigned char *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = '\0';
}

size_t credentials_write(char out[CREDENTIALS_MAX], const char *secret, const char *topic,
			 int64_t user_id)
{
	unsigned char signature[EVP_MAX_MD_SIZE];
	char claims[CLAIMS_MAX], hex[2 * CLAIMS_MAX + 1], signature_hex[2 * SIGNATURE_BYTES + 1];
	int len = snprintf(claims, sizeof(claims),
			   "{\"user_id\":%lld,\"topic\":\"%s\",\"expires\":%lld}",
			   (long long)user_id, topic, (long long)clock_wall_ms() / 1000 + DAY_S);

	if (len < 0 || (size_t)len >= sizeof(claims))
		fail("the topic is too long");
	to_hex((const unsigned char *)claims, (size_t)len, hex);
	if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)hex,
		  2 * (size_t)len, signature, NULL))
		fail("no HMAC-SHA256");
	to_hex(signature, SIGNATURE_BYTES, signature_hex);
	len = snprintf(out, CREDENTIALS_MAX, "{\"type\":\"auth\",\"token\":\"%s.%s\"}", hex,
		       signature_hex);
	if (len < 0 || len >= CREDENTIALS_MAX)
		fail("the auth frame does not fit");
	return (size_t)len;
}
