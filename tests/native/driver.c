/* Run a program over audio, one frame at a time: driver PROGRAM IN CODES OUT.
   IN and OUT are float32 samples, CODES is int32 [frames][codebooks]. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chirrup.h"

static void *zeros(size_t bytes) { /* aligned to 64 bytes; Windows has no aligned_alloc */
    uint8_t *memory = calloc(bytes + 64, 1);
    if (!memory) exit(3);
    return memory + (64 - (uintptr_t)memory % 64);
}

static void *whole(const char *path, size_t *size) {
    FILE *stream = fopen(path, "rb");
    if (!stream || fseek(stream, 0, SEEK_END)) exit(3);
    *size = (size_t)ftell(stream);
    rewind(stream);
    void *content = zeros(*size);
    if (fread(content, 1, *size, stream) != *size) exit(3);
    fclose(stream);
    return content;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    size_t size, audio_bytes;
    const void *file = whole(argv[1], &size);
    const float *audio = whole(argv[2], &audio_bytes);
    chirrup_program program;
    const int error = chirrup_open(&program, file, size, zeros(chirrup_memory_size(file, size)));
    if (error) return fprintf(stderr, "%s\n", chirrup_error(error)), 1;
    void *states[2], *scratches[2];
    for (int part = 0; part < 2; ++part) {
        states[part] = zeros(chirrup_state_size(&program, part));
        scratches[part] = zeros(chirrup_scratch_size(&program, part));
    }
    const size_t samples = program.part[CHIRRUP_ENCODER].input_size;
    const size_t codebooks = program.part[CHIRRUP_ENCODER].output_size;
    int32_t *codes = zeros(codebooks * sizeof *codes);
    float *sound = zeros(samples * sizeof *sound);
    FILE *coded = fopen(argv[3], "wb"), *decoded = fopen(argv[4], "wb");
    if (!coded || !decoded) return 3;
    for (size_t at = 0; (at + samples) * sizeof *audio <= audio_bytes; at += samples) {
        if (chirrup_run(&program, CHIRRUP_ENCODER, audio + at, codes, 1, states[0], scratches[0]) ||
            chirrup_run(&program, CHIRRUP_DECODER, codes, sound, 1, states[1], scratches[1]))
            return 1;
        fwrite(codes, sizeof *codes, codebooks, coded);
        fwrite(sound, sizeof *sound, samples, decoded);
    }
    return fclose(coded) || fclose(decoded);
}
