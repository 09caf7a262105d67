/*
 * scan -- find bytes 64 at a time with the compiler's vector extensions (no intrinsics header).
 */
#ifndef BASE_SCAN_H
#define BASE_SCAN_H
#include <stdint.h>
#include <string.h>

typedef uint8_t scan_v32 __attribute__((vector_size(32), aligned(1), may_alias));
typedef char scan_c32 __attribute__((vector_size(32)));

/* Bit i of the result: p[i] == c, for the 64 bytes at p. */
static inline uint64_t
scan_eq64(const char *p, char c)
{
#if defined(__AVX2__)
    scan_v32 want = (scan_v32){ 0 } + (uint8_t)c;
    scan_c32 a = (scan_c32)(*(const scan_v32 *)p == want), b = (scan_c32)(*(const scan_v32 *)(p + 32) == want);

    return (uint32_t)__builtin_ia32_pmovmskb256(a) | (uint64_t)(uint32_t)__builtin_ia32_pmovmskb256(b) << 32;
#elif defined(__SSE2__)
    typedef char v16 __attribute__((vector_size(16)));
    typedef uint8_t u16v __attribute__((vector_size(16), aligned(1), may_alias));
    u16v want = (u16v){ 0 } + (uint8_t)c;
    uint64_t m = 0;

    for (int i = 0; i < 4; i++)
        m |= (uint64_t)(uint16_t)__builtin_ia32_pmovmskb128((v16)(*(const u16v *)(p + 16 * i) == want)) << (16 * i);
    return m;
#else
    uint64_t m = 0;

    for (int i = 0; i < 64; i++)
        m |= (uint64_t)(p[i] == c) << i;
    return m;
#endif
}
#endif
