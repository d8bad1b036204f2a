/* Code a WAV file and decode it: wav PROGRAM BITS IN.wav PACKETS OUT.wav
   IN.wav is mono with 16 bits, at the sample rate of the model, with a header of 44 bytes. A packet
   has the codes of one frame, BITS bits each (10 for iris-t1), and no header. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chirrup.h"

static void *zeros(size_t bytes) { /* aligned to 64 bytes, as the engine needs its memory */
    const size_t whole = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, whole ? whole : 64);
    if (!memory) exit(3);
    return memset(memory, 0, whole);
}

static FILE *opened(const char *path, const char *mode) {
    FILE *file = fopen(path, mode);
    if (!file) perror(path), exit(2);
    return file;
}

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "usage: wav PROGRAM BITS IN.wav PACKETS OUT.wav\n"), 2;
    FILE *file = opened(argv[1], "rb"), *in = opened(argv[3], "rb");
    fseek(file, 0, SEEK_END);
    const size_t size = (size_t)ftell(file), bits = (size_t)atoi(argv[2]);
    if (bits < 1 || bits > 16) return fprintf(stderr, "BITS is %s, must be 1 to 16\n", argv[2]), 2;
    void *content = zeros(size);
    rewind(file);
    if (fread(content, 1, size, file) != size) return fprintf(stderr, "%s cannot be read\n", argv[1]), 2;

    chirrup_program program;
    int error = chirrup_open(&program, content, size, zeros(chirrup_memory_size(content, size)));
    if (error) return fprintf(stderr, "%s: %s\n", argv[1], chirrup_error(error)), 2;
    free(content);
    if (program.part[CHIRRUP_DECODER].output_size != program.part[CHIRRUP_ENCODER].input_size)
        return fprintf(stderr, "%s: its frames change the sample rate\n", argv[1]), 2;
    float *encoder = zeros(chirrup_state_size(&program, CHIRRUP_ENCODER));
    float *decoder = zeros(chirrup_state_size(&program, CHIRRUP_DECODER));
    const size_t first = chirrup_scratch_size(&program, CHIRRUP_ENCODER);
    const size_t second = chirrup_scratch_size(&program, CHIRRUP_DECODER);
    float *scratch = zeros(first > second ? first : second); /* for both, since calls keep nothing in it */
    const size_t samples = program.part[CHIRRUP_ENCODER].input_size;
    const size_t codebooks = program.part[CHIRRUP_ENCODER].output_size, bytes = (codebooks * bits + 7) / 8;
    int16_t *pcm = zeros(samples * sizeof *pcm);
    float *audio = zeros(samples * sizeof *audio);
    int32_t *codes = zeros(codebooks * sizeof *codes);
    uint8_t *packet = zeros(bytes), header[44];

    const int is_whole = fread(header, 1, sizeof header, in) == sizeof header;
    if (!is_whole || memcmp(header, "RIFF", 4) || header[20] != 1 || header[22] != 1 || header[34] != 16)
        return fprintf(stderr, "%s is not a mono WAV file with 16 bits\n", argv[3]), 2;
    FILE *packets = opened(argv[4], "wb+"), *out = opened(argv[5], "wb");
    for (size_t n; (n = fread(pcm, sizeof *pcm, samples, in)) > 0;) {
        for (size_t i = 0; i < samples; ++i) audio[i] = i < n ? (float)pcm[i] / 32768 : 0;
        error = chirrup_run(&program, CHIRRUP_ENCODER, audio, codes, 1, encoder, scratch);
        if (error) return fprintf(stderr, "%s: %s\n", argv[1], chirrup_error(error)), 2;
        memset(packet, 0, bytes);
        for (size_t bit = 0; bit < codebooks * bits; ++bit)
            packet[bit / 8] |= (uint8_t)((codes[bit / bits] >> bit % bits & 1) << bit % 8);
        fwrite(packet, 1, bytes, packets);
    }

    rewind(packets);
    fwrite(header, 1, sizeof header, out);
    for (long left = ftell(in) - 44; left > 1 && fread(packet, 1, bytes, packets) == bytes; left -= 2 * (long)samples) {
        memset(codes, 0, codebooks * sizeof *codes);
        for (size_t bit = 0; bit < codebooks * bits; ++bit)
            codes[bit / bits] |= (packet[bit / 8] >> bit % 8 & 1) << bit % bits;
        error = chirrup_run(&program, CHIRRUP_DECODER, codes, audio, 1, decoder, scratch);
        if (error) return fprintf(stderr, "%s: %s\n", argv[1], chirrup_error(error)), 2;
        for (size_t i = 0; i < samples; ++i)
            pcm[i] = (int16_t)(audio[i] >= 1 ? 32767 : audio[i] <= -1 ? -32768 : audio[i] * 32767);
        fwrite(pcm, 2, left / 2 < (long)samples ? (size_t)left / 2 : samples, out);
    }
    return fclose(packets) || fclose(out) ? 2 : 0;
}
