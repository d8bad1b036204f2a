/* Open damaged copies of a program, and run those that open: fuzz FILE ROUNDS SEED.
   Compile with -fsanitize=address,undefined. Every buffer has its exact size, so that an access
   outside one stops the run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static uint64_t seed;

static uint32_t draw(uint32_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % below);
}

static void *zeros(size_t bytes) {
    void *memory;
    if (posix_memalign(&memory, 64, bytes ? bytes : 1)) abort();
    return memset(memory, 0, bytes);
}

static uint32_t *field(uint8_t *file, size_t at) { return (uint32_t *)(void *)(file + at); }

/* The place of a field in the header, an operation or a value. */
static size_t any_field(uint8_t *file) {
    size_t head = 96 + 32 * draw(2);
    if (!*field(file, head)) head = 128; /* the program only decodes */
    const uint32_t *h = field(file, head);
    switch (draw(8)) {
    case 0:
        return 4 * draw(48);
    case 1:
        return head + 4 * draw(8);
    case 2:
    case 3:
        return h[3] * (size_t)64 + 16 * draw(h[2]) + 4 * draw(4);
    default:
        return h[1] * (size_t)64 + 128 * draw(h[0]) + 4 * draw(28);
    }
}

static uint32_t changed(uint8_t *file, uint32_t old) {
    const uint32_t extremes[] = {0, 1, 2, 16, 0x7fffffff, 0x80000000, 0xffffffff, 0x10000, 0xffffff0, 1 << 24};
    switch (draw(7)) {
    case 0:
        return extremes[draw(10)];
    case 1:
        return old + 1 + draw(2);
    case 2:
        return old - 1 - draw(2);
    case 3:
        return old + 16;
    case 4:
        return old - 16;
    case 5:
        return old ^ (1u << draw(32));
    default:
        return draw(2) ? old * 2 : *field(file, any_field(file));
    }
}

static size_t damage(uint8_t *file, size_t size) {
    if (!draw(50)) { /* a part of the file, with the size of the part in its header */
        size = draw((uint32_t)size + 1);
        if (draw(2) && size >= 40) *field(file, 32) = (uint32_t)size;
        return size;
    }
    if (!draw(20)) {
        for (uint32_t n = 1 + draw(4); n--;) file[draw((uint32_t)size)] ^= (uint8_t)(1 + draw(255));
        return size;
    }
    size_t places[3];
    uint32_t values[3];
    const uint32_t count = 1 + draw(3);
    for (uint32_t n = 0; n < count; ++n) {
        places[n] = any_field(file);
        values[n] = changed(file, *field(file, places[n]));
    }
    for (uint32_t n = 0; n < count; ++n) *field(file, places[n]) = values[n];
    return size;
}

/* Return whether the program ran. */
static int run(const uint8_t *file, size_t size) {
    enum { FRAMES = 3 };
    const size_t bytes = chirrup_memory_size(file, size);
    void *memory = zeros(bytes);
    chirrup_program program;
    const int error = chirrup_open(&program, file, size, memory);
    if ((error == 0) != (bytes > 0)) abort();
    const uint32_t kernels = draw(4); /* those of another instruction set, if this processor has it */
    if (!error && chirrup_use_kernels(&program, (int)kernels) && kernels == 0) abort();
    int runs = 0;
    for (int part = 0; part < 2 && !error; ++part) {
        const size_t state = chirrup_state_size(&program, part), scratch = chirrup_scratch_size(&program, part);
        const size_t in = program.part[part].input_size, out = program.part[part].output_size;
        if (state + scratch + 4 * FRAMES * (in + out) > 64 << 20) continue;
        void *buffers[] = {zeros(4 * FRAMES * in), zeros(4 * FRAMES * out), zeros(state), zeros(scratch)};
        const float wild[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-40f};
        const uint32_t tame = draw(4) ? 0 : 1 + draw(50);
        for (size_t n = 0; n < FRAMES * in; ++n) {
            float *sample = (float *)buffers[0] + n;
            if (part == CHIRRUP_ENCODER) *sample = tame && !draw(tame) ? wild[draw(6)] : (float)draw(2000) / 1000 - 1;
            else ((int32_t *)buffers[0])[n] = (int32_t)draw(16) - 1;
        }
        const int expected = program.part[part].op_count ? CHIRRUP_OK : CHIRRUP_NO_ENCODER;
        if (chirrup_run(&program, part, buffers[0], buffers[1], FRAMES, buffers[2], buffers[3]) != expected) abort();
        if (chirrup_run(&program, part, buffers[0], buffers[1], 1, buffers[2], buffers[3]) != expected) abort();
        for (int n = 0; n < 4; ++n) free(buffers[n]);
        runs = 1;
    }
    free(memory);
    return runs;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    FILE *stream = fopen(argv[1], "rb");
    static uint8_t whole[1 << 24];
    const size_t size = stream ? fread(whole, 1, sizeof whole, stream) : 0;
    if (!size || fclose(stream)) return 2;
    uint8_t *sound = zeros(size);
    memcpy(sound, whole, size);
    const int runs = run(sound, size);
    free(sound);
    if (!runs) return 3;
    int ran = 0;
    const int rounds = atoi(argv[2]);
    seed = strtoull(argv[3], 0, 10);
    for (int n = 0; n < rounds; ++n) {
        uint8_t *file = zeros(size);
        memcpy(file, whole, size);
        const size_t left = damage(file, size);
        uint8_t *copy = zeros(left);
        memcpy(copy, file, left);
        free(file);
        ran += run(copy, left);
        free(copy);
    }
    printf("%d of %d damaged programs ran\n", ran, rounds);
    return 0;
}
