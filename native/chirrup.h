/* Engine for streaming neural audio codecs: it runs a program file (docs/reference/program.md).
   It does not allocate memory and writes no global variable. */
#ifndef CHIRRUP_H
#define CHIRRUP_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifndef CHIRRUP_API
#define CHIRRUP_API
#endif

enum { CHIRRUP_ENCODER = 0, CHIRRUP_DECODER = 1 };

enum {
    CHIRRUP_OK = 0,
    CHIRRUP_NOT_A_PROGRAM = -1,
    CHIRRUP_UNKNOWN_VERSION = -2,
    CHIRRUP_WRONG_SIZE = -3,
    CHIRRUP_BAD_HEADER = -4,
    CHIRRUP_BAD_VALUE = -5,
    CHIRRUP_BAD_OPERATION = -6,
    CHIRRUP_BAD_ARGUMENT = -7,
    CHIRRUP_NO_ENCODER = -8,
};

/* An opened program. It refers to the memory given to chirrup_open and does not change. */
typedef struct {
    const void *kernels;
    const float *weights;
    const uint16_t *halves; /* the weights from exact_units on as float16, or null */
    const int8_t *bytes;    /* the weights from weight_units on */
    uint32_t exact_units, weight_units, block_frames; /* a unit is 16 weights */
    struct {
        const void *ops, *values;
        uint32_t op_count, value_count, state_floats, scratch_floats, input_size, output_size;
    } part[2];
} chirrup_program;

/* Return the description of an error code in English. */
CHIRRUP_API const char *chirrup_error(int code);

/* Check a program file and return the size of an opened program's memory in bytes, or 0 if the file
   is not valid. The SHA-256 in the file is not checked. The file is aligned to 4 bytes. */
CHIRRUP_API size_t chirrup_memory_size(const void *file, size_t size);

/* Check a program file and open it. Return 0 or a negative error code.
   memory: chirrup_memory_size() bytes, aligned to 64 bytes, which must stay until the last call.
   The file is not needed after the call. */
CHIRRUP_API int chirrup_open(chirrup_program *program, const void *file, size_t size, void *memory);

/* Return the size in bytes of the state of a stream, or of the scratch memory of a call, of
   CHIRRUP_ENCODER or CHIRRUP_DECODER; 0 for another part. */
CHIRRUP_API size_t chirrup_state_size(const chirrup_program *program, int part);
CHIRRUP_API size_t chirrup_scratch_size(const chirrup_program *program, int part);

/* Run frames of one stream. Return 0, CHIRRUP_BAD_ARGUMENT, or CHIRRUP_NO_ENCODER if the program only decodes.
   encoder: in is float [frames * input_size] samples, out is int32 [output_size][frames] codes.
   decoder: in is int32 [input_size][frames] codes, out is float [frames * output_size] samples.
   Codes that were not received are -1. A code of the encoder is -1 if a sample or a weight is not a number. A new stream has a state of zeros. The
   contents of scratch are not kept between calls. Both are aligned to 64 bytes. */
CHIRRUP_API int chirrup_run(const chirrup_program *program, int part, const void *in, void *out,
                            int frames, float *state, float *scratch);
#ifdef __cplusplus
}
#endif
#endif
