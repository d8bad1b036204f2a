/* Open a program file: check it, and copy it to the caller's memory with float32 weights. */
#include <string.h>

#include "chirrup.h"
#include "cpu.h"
#include "kernels.h"
#include "program.h"

enum { HEADER = 192, ALIGNMENT = 64, PART_HEADER = 96 };

struct file {
    const uint8_t *data;
    uint32_t block_frames, exact_units, half_units, byte_units;
    uint64_t exact_at, half_at, bytes_at, ops_at[2], values_at[2]; /* in bytes */
    struct part part[2];
};

static uint32_t u32(const uint8_t *data) {
    uint32_t number;
    memcpy(&number, data, sizeof number);
    return number;
}

static uint64_t aligned(uint64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static int is_inside(uint64_t at, uint64_t bytes, uint64_t size) {
    return at >= HEADER && at <= size && bytes <= size - at;
}

/* Read and check the header of a file. */
static int read_header(struct file *f, const uint8_t *data, size_t size) {
    if (!data || size < HEADER || memcmp(data, "CHIRRUP1", 8)) return CHIRRUP_NOT_A_PROGRAM;
    if (u32(data + 8) != 1) return CHIRRUP_UNKNOWN_VERSION;
    memset(f, 0, sizeof *f);
    f->data = data;
    f->block_frames = u32(data + 12);
    f->exact_units = u32(data + 16), f->half_units = u32(data + 20);
    f->exact_at = u32(data + 24) * (uint64_t)ALIGNMENT, f->half_at = u32(data + 28) * (uint64_t)ALIGNMENT;
    f->byte_units = u32(data + 40);
    f->bytes_at = f->byte_units ? u32(data + 44) * (uint64_t)ALIGNMENT : HEADER;
    uint64_t whole;
    memcpy(&whole, data + 32, sizeof whole);
    if (whole != size) return CHIRRUP_WRONG_SIZE;
    if (!is_inside(f->exact_at, f->exact_units * (uint64_t)UNIT * 4, size) ||
        !is_inside(f->half_at, f->half_units * (uint64_t)UNIT * 2, size) ||
        !is_inside(f->bytes_at, f->byte_units * (uint64_t)UNIT, size) ||
        (uint64_t)f->exact_units + f->half_units + f->byte_units > UINT32_MAX)
        return CHIRRUP_BAD_HEADER;
    for (int n = 0; n < 2; ++n) {
        const uint8_t *h = data + PART_HEADER + 32 * n;
        f->part[n] = (struct part){
            .op_count = u32(h), .value_count = u32(h + 8), .state_floats = u32(h + 16),
            .scratch_floats = u32(h + 20), .input_size = u32(h + 24), .output_size = u32(h + 28),
            .block_frames = f->block_frames, .weight_units = f->exact_units + f->half_units,
            .byte_units = f->byte_units, .decoder = n,
        };
        f->ops_at[n] = u32(h + 4) * (uint64_t)ALIGNMENT, f->values_at[n] = u32(h + 12) * (uint64_t)ALIGNMENT;
        if (!is_inside(f->ops_at[n], f->part[n].op_count * (uint64_t)sizeof(op_t), size) ||
            !is_inside(f->values_at[n], f->part[n].value_count * (uint64_t)sizeof(value_t), size))
            return CHIRRUP_BAD_HEADER;
    }
    return CHIRRUP_OK;
}

static int read_file(struct file *f, const uint8_t *data, size_t size) {
    if ((uintptr_t)data % sizeof(uint32_t)) return CHIRRUP_BAD_ARGUMENT;
    int error = read_header(f, data, size);
    for (int n = 0; n < 2 && !error; ++n) {
        struct part p = f->part[n];
        p.ops = (const op_t *)(const void *)(data + f->ops_at[n]);
        p.values = (const value_t *)(const void *)(data + f->values_at[n]);
        error = check_part(&p);
    }
    return error;
}

static float from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
    float value;
    if (rest < 0x0400) { /* subnormal: a multiple of 2^-24 */
        value = (float)rest * 5.9604644775390625e-8f;
        return sign ? -value : value;
    }
    const uint32_t bits = sign | (rest >= 0x7c00 ? (rest << 13) | 0x7f800000 : (rest << 13) + 0x38000000);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Return the kernels number n that this processor can run, the best ones first; null behind the last. */
static const struct kernels *kernels_of(int n) {
#if defined(CHIRRUP_X86)
    static const struct kernels *const sets[] = {&kernels_base, &kernels_avx2, &kernels_avx512, &kernels_vnni};
    n = instruction_set() - n;
    return n >= 0 ? sets[n] : 0;
#else
    return n == 0 ? &kernels_base : 0;
#endif
}

int chirrup_use_kernels(chirrup_program *program, int n) {
    const struct kernels *kernels = program && n >= 0 ? kernels_of(n) : 0;
    if (!kernels) return CHIRRUP_BAD_ARGUMENT;
    program->kernels = kernels;
    return CHIRRUP_OK;
}

static uint64_t memory_size(const struct file *f) {
    uint64_t bytes = ((uint64_t)f->exact_units + f->half_units) * UNIT * sizeof(float);
    if (kernels_of(0)->has_half) bytes += aligned(f->half_units * (uint64_t)UNIT * sizeof(uint16_t));
    bytes += aligned(f->byte_units * (uint64_t)UNIT);
    for (int n = 0; n < 2; ++n)
        bytes += aligned(f->part[n].op_count * (uint64_t)sizeof(op_t)) +
                 aligned(f->part[n].value_count * (uint64_t)sizeof(value_t));
    return bytes <= SIZE_MAX / 2 ? bytes : 0;
}

const char *chirrup_error(int code) {
    switch (code) {
    case CHIRRUP_OK:
        return "no error";
    case CHIRRUP_NOT_A_PROGRAM:
        return "the file is not a Chirrup program";
    case CHIRRUP_UNKNOWN_VERSION:
        return "the version of the program file is not supported; use a newer library";
    case CHIRRUP_WRONG_SIZE:
        return "the program file does not have the size in its header; copy it again";
    case CHIRRUP_BAD_HEADER:
        return "the header of the program file is damaged; copy the file again";
    case CHIRRUP_BAD_VALUE:
        return "a value of the program file is damaged; copy the file again";
    case CHIRRUP_BAD_OPERATION:
        return "an operation of the program file is damaged or unknown; copy the file again";
    case CHIRRUP_BAD_ARGUMENT:
        return "an argument is out of range: the part is 0 or 1, frames are at least 1, memory is "
               "aligned to 64 bytes, and no pointer is null";
    case CHIRRUP_NO_ENCODER:
        return "the program has no encoder, it only decodes";
    }
    return "unknown error code";
}

size_t chirrup_memory_size(const void *file, size_t size) {
    struct file f;
    return read_file(&f, file, size) ? 0 : (size_t)memory_size(&f);
}

int chirrup_open(chirrup_program *program, const void *file, size_t size, void *memory) {
    struct file f;
    if (!program || !memory || (uintptr_t)memory % ALIGNMENT) return CHIRRUP_BAD_ARGUMENT;
    const int error = read_file(&f, file, size);
    if (error) return error;
    if (!memory_size(&f)) return CHIRRUP_BAD_HEADER;
    float *weights = memory, *halves = weights + (size_t)f.exact_units * UNIT;
    memcpy(weights, f.data + f.exact_at, (size_t)f.exact_units * UNIT * sizeof(float));
    for (size_t i = 0; i < (size_t)f.half_units * UNIT; ++i) {
        uint16_t half;
        memcpy(&half, f.data + f.half_at + 2 * i, sizeof half);
        halves[i] = from_half(half);
    }
    const struct kernels *kernels = kernels_of(0);
    *program = (chirrup_program){
        .kernels = kernels, .weights = weights, .exact_units = f.exact_units,
        .weight_units = f.exact_units + f.half_units, .block_frames = f.block_frames,
    };
    uint8_t *to = (uint8_t *)(halves + (size_t)f.half_units * UNIT);
    if (kernels->has_half) {
        const size_t bytes = (size_t)f.half_units * UNIT * sizeof(uint16_t);
        program->halves = memcpy(to, f.data + f.half_at, bytes);
        to += aligned(bytes);
    }
    const size_t bytes = (size_t)f.byte_units * UNIT;
    program->bytes = memcpy(to, f.data + f.bytes_at, bytes);
    to += aligned(bytes);
    for (int n = 0; n < 2; ++n) {
        const struct part *p = &f.part[n];
        const size_t ops = p->op_count * sizeof(op_t), values = p->value_count * sizeof(value_t);
        program->part[n].ops = memcpy(to, f.data + f.ops_at[n], ops);
        to += aligned(ops);
        program->part[n].values = memcpy(to, f.data + f.values_at[n], values);
        to += aligned(values);
        program->part[n].op_count = p->op_count, program->part[n].value_count = p->value_count;
        program->part[n].state_floats = p->state_floats;
        program->part[n].scratch_floats = p->scratch_floats;
        program->part[n].input_size = p->input_size, program->part[n].output_size = p->output_size;
    }
    return CHIRRUP_OK;
}

size_t chirrup_state_size(const chirrup_program *p, int part) {
    return part == 0 || part == 1 ? p->part[part].state_floats * sizeof(float) : 0;
}

size_t chirrup_scratch_size(const chirrup_program *p, int part) {
    return part == 0 || part == 1 ? p->part[part].scratch_floats * sizeof(float) : 0;
}
