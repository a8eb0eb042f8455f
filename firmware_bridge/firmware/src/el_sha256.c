#include "el_sha256.h"

#include <string.h>

#define BLOCK 64u

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

static uint32_t turn(uint32_t value, unsigned int by)
{
    return (value >> by) | (value << (32u - by));
}

/* The message schedule is kept as its last 16 words: 64 bytes of stack instead of 256. */
static void block(uint32_t state[8], const uint8_t *data)
{
    uint32_t w[16];
    uint32_t s[8];
    (void)memcpy(s, state, sizeof s);
    for (unsigned int i = 0; i < 64u; i++) {
        if (i < 16u) {
            const uint8_t *at = &data[4u * i];
            w[i] = ((uint32_t)at[0] << 24) | ((uint32_t)at[1] << 16) | ((uint32_t)at[2] << 8) | (uint32_t)at[3];
        } else {
            const uint32_t a = w[(i + 1u) & 15u];
            const uint32_t b = w[(i + 14u) & 15u];
            w[i & 15u] += w[(i + 9u) & 15u] + (turn(a, 7) ^ turn(a, 18) ^ (a >> 3)) + (turn(b, 17) ^ turn(b, 19) ^ (b >> 10));
        }
        const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        const uint32_t one = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) + choice + constants[i] + w[i & 15u];
        const uint32_t two = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) + majority;
        for (unsigned int k = 7u; k > 0u; k--) {
            s[k] = s[k - 1u];
        }
        s[4] += one;
        s[0] = one + two;
    }
    for (unsigned int k = 0; k < 8u; k++) {
        state[k] += s[k];
    }
}

void el_sha256(const uint8_t *data, uint32_t count, uint8_t digest[EL_SHA256_BYTES])
{
    uint32_t state[8] = {
        0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
    };
    uint8_t last[BLOCK];
    uint32_t at = 0;
    for (; (count - at) >= BLOCK; at += BLOCK) {
        block(state, &data[at]);
    }
    const uint32_t rest = count - at;
    (void)memset(last, 0, sizeof last);
    if (rest > 0u) {
        (void)memcpy(last, &data[at], rest);
    }
    last[rest] = 0x80u;
    if (rest >= (BLOCK - 8u)) {
        block(state, last);
        (void)memset(last, 0, sizeof last);
    }
    const uint64_t bits = (uint64_t)count * 8u;
    for (unsigned int i = 0; i < 8u; i++) {
        last[(BLOCK - 1u) - i] = (uint8_t)((bits >> (8u * (uint64_t)i)) & 0xFFu);
    }
    block(state, last);
    for (unsigned int i = 0; i < EL_SHA256_BYTES; i++) {
        digest[i] = (uint8_t)((state[i / 4u] >> (8u * (3u - (i % 4u)))) & 0xFFu);
    }
}
