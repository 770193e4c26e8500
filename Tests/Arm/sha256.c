// SHA-256 against the examples of the standard, and against Python's.

#include "attacks.h"

#include <string.h>

static void expect(int path, const char *what, ck_sha256 *hash, const char *digits) {
    uint8_t digest[32], expected[32];
    for (int i = 0; i < 32; i++) {
        static const char hex[] = "0123456789abcdef";
        expected[i] = (uint8_t)((strchr(hex, digits[2 * i]) - hex) * 16 + (strchr(hex, digits[2 * i + 1]) - hex));
    }
    ck_sha256_finish(hash, digest);
    judge(path, what, digest, expected, 32, 1);
    if (path == CK_PATH_GENERIC) count_case();
}

/// NIST's examples for FIPS 180-4 (csrc.nist.gov, Cryptographic Standards and Guidelines, Example Values), and of no bytes.
static void examples(int path) {
    static const char *const known[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    ck_sha256 hash;
    for (size_t each = 0; each < sizeof known / sizeof *known; each++) {
        ck_sha256_start(&hash, (ck_path)path);
        ck_sha256_update(&hash, known[each][0], strlen(known[each][0]));
        expect(path, "example", &hash, known[each][1]);
    }
    char part[8000];
    memset(part, 'a', sizeof part);
    ck_sha256_start(&hash, (ck_path)path);
    for (int i = 0; i < 125; i++) ck_sha256_update(&hash, part, sizeof part);
    expect(path, "a million times a", &hash, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/// The hash of the hashes of bytes 0, 1, 2 ... 255, 0, 1 ... of every length up to 260, in pieces of any size. In Python:
/// sha256(b"".join(sha256(bytes(i % 256 for i in range(n))).digest() for n in range(261))).hexdigest()
static void lengths(int path) {
    uint8_t bytes[260], digest[32];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)i;
    ck_sha256 all, one;
    ck_sha256_start(&all, (ck_path)path);
    for (size_t length = 0; length <= sizeof bytes; length++) {
        ck_sha256_start(&one, (ck_path)path);
        for (size_t start = 0, taken; start < length; start += taken) {
            taken = draw() % 150;
            if (taken > length - start) taken = length - start;
            ck_sha256_update(&one, bytes + start, taken);
        }
        ck_sha256_finish(&one, digest);
        ck_sha256_update(&all, digest, sizeof digest);
    }
    expect(path, "lengths", &all, "b462003d0a60fe61db68b56c40eec21e993531dd139094e48ded151822bfadf9");
}

/// A copy goes its own way.
static void forks(int path) {
    ck_sha256 hash, copy;
    ck_sha256_start(&hash, (ck_path)path);
    ck_sha256_update(&hash, "ab", 2);
    copy = hash;
    ck_sha256_update(&copy, "x", 1);
    ck_sha256_update(&hash, "c", 1);
    expect(path, "abc in two", &hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(path, "abx in two", &copy, "b2bdab4230154046ad0b7dfa830a9260caa5bd6ae230e582a2244ab4bf0b4ca5");
}

void attack_sha256(void) {
    EACH_PATH(path) {
        examples(path);
        lengths(path);
        forks(path);
    }
}
