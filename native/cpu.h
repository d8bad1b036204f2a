/* Instruction sets of an x86-64 processor. __builtin_cpu_supports returns 0 for all of them in a library
   that zig 0.17 links, because zig's compiler-rt does not fill in its table. */
#ifndef CPU_H
#define CPU_H
#if defined(CHIRRUP_X86)
#include <cpuid.h>

enum { BASE, AVX2, AVX512, AVX512_VNNI };

/* Return the highest of the sets above that the processor has and that the operating system saves. */
static inline int instruction_set(void) {
    const unsigned osxsave = 1u << 27, fma = 1u << 12, f16c = 1u << 29; /* leaf 1, ecx */
    const unsigned avx2 = 1u << 5, avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* leaf 7, ebx: F, DQ, BW, VL */
    const unsigned vnni = 1u << 11; /* leaf 7, ecx */
    unsigned a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (osxsave | fma | f16c)) != (osxsave | fma | f16c)) return BASE;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & avx2)) return BASE;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & 0x06) != 0x06) return BASE; /* registers xmm, ymm */
    if ((b & avx512) != avx512 || (saved & 0xe6) != 0xe6) return AVX2; /* and masks, zmm */
    return c & vnni ? AVX512_VNNI : AVX512;
}
#endif
#endif
