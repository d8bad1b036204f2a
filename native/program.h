/* Operations and values of a program, as in the file. */
#ifndef PROGRAM_H
#define PROGRAM_H
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "program files are little endian; this engine does not swap bytes"
#endif

enum op {
    CONV, ACTIVATE, NORM, DEPTHWISE, MULTIPLY, GRU, LSTM, OVERLAP, SEARCH, LOOKUP, HEAD, INPUT,
    OUTPUT, ISTFT, OP_KINDS
};

#define NOTHING UINT32_MAX /* the index of no value */
#define UNIT 16            /* weights of a unit */

/* in, out, other: indices of values; state, delay_state: places in the state in floats;
   w: places of weights in units. */
typedef struct {
    uint32_t kind, in, out, other, state, delay, delay_state, p[13], w[8], unused[4];
} op_t;

/* rows: rows of a frame; ld: floats of a row; before: rows that are reserved before the first. A
   value occupies the floats from offset - before * ld to offset + rows * block_frames * ld of the
   scratch memory. No operation reads or writes outside them, except that a CONV may read lanes - p[5]
   floats after the last one of the value `other`, and an ISTFT may write its lanes - p[0] floats
   after the last one of a row of `out`. */
typedef struct {
    uint32_t offset, rows, ld, before;
} value_t;

/* Check one part of a program. Return 0 or a negative error code. */
struct part {
    const op_t *ops;
    const value_t *values;
    uint32_t op_count, value_count, state_floats, scratch_floats, input_size, output_size;
    uint32_t block_frames, weight_units, byte_units;
    int decoder;
};
int check_part(const struct part *part);
#endif
