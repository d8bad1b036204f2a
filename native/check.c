/* Checks of a program. They make sure that a run stays inside its memory: every read and write of
   run.c and kernels.c follows from a size that is compared here. */
#include "chirrup.h"
#include "kernels.h"
#include "program.h"

typedef uint64_t u64;

enum {
    MOST_FRAMES = 1 << 12, /* of a block */
    MOST_OPS = 1 << 12,
    MOST = 1 << 24,        /* of any count or size in an operation or value */
    MOST_FLOATS = 1 << 28, /* of a state or scratch memory: so that an int can count them */
};

/* a * b, or a number that is larger than any memory. */
static u64 times(u64 a, u64 b) {
    const u64 large = (u64)1 << 60;
    return b && a > large / b ? large : a * b;
}

static int is_size(u64 n) { return n >= 1 && n <= MOST; }
static int is_vectors(u64 n) { return is_size(n) && n % UNIT == 0; }

static int check_value(const struct part *p, const value_t *v) {
    if (!is_size(v->rows) || !is_size(v->ld) || v->before > MOST) return 0;
    return times(v->before, v->ld) <= v->offset &&
           v->offset + times(times(v->rows, p->block_frames), v->ld) <= p->scratch_floats;
}

static int has_weights(const struct part *p, uint32_t w, u64 floats) {
    return w + (floats + UNIT - 1) / UNIT <= p->weight_units;
}

/* Whether w are floats of a matrix [groups][depth][lanes], or bytes with their scales. exact: the number of the
   operation that is 1 if the inputs of bytes are not rounded. */
static int has_matrix(const struct part *p, uint32_t w, uint32_t scale, uint32_t exact, u64 groups, u64 depth,
                      u64 lanes) {
    if (exact > 1) return 0;
    if (w < p->weight_units) return has_weights(p, w, times(times(groups, depth), lanes));
    const u64 units = times(times(groups, exact ? depth : (depth + 3) / 4 * 4), lanes / UNIT);
    return (exact || depth <= MOST_BYTES) && w - (u64)p->weight_units + units <= p->byte_units &&
           has_weights(p, scale, times(groups, lanes));
}

static int has_state(const struct part *p, uint32_t at, u64 floats) {
    return at + floats <= p->state_floats;
}

/* Whether op number n may read the value: an earlier op writes it. */
static int is_made(const struct part *p, uint32_t n, uint32_t value) {
    if (value >= p->value_count) return 0;
    for (uint32_t i = 0; i < n; ++i) {
        const uint32_t kind = p->ops[i].kind;
        if (p->ops[i].out == value && kind != SEARCH && kind != OUTPUT) return 1;
    }
    return 0;
}

static int is_same_shape(const value_t *a, const value_t *b) {
    return a->rows == b->rows && a->ld == b->ld;
}

static int check_conv(const struct part *p, const op_t *o, const value_t *x, const value_t *y,
                      const value_t *other) {
    const u64 kernel = o->p[0], stride = o->p[1], dilation = o->p[2], groups = o->p[3];
    const u64 inputs = o->p[4], outputs = o->p[5], lanes = o->p[6], past = o->p[8];
    if (!is_size(kernel) || !is_size(stride) || !is_size(dilation) || !is_size(groups) ||
        !is_size(inputs) || !is_size(outputs) || !is_vectors(lanes) || outputs > lanes)
        return 0;
    const u64 width = (groups - 1) * outputs + lanes, bias = groups * lanes;
    if (o->p[7] >= ACTIVATIONS || groups * inputs > x->ld || width > y->ld) return 0;
    if (x->rows != stride * y->rows || past + stride != (kernel - 1) * dilation + 1) return 0;
    if (past > x->before || !has_state(p, o->state, past ? times(past, x->ld) : 0)) return 0;
    if (!has_matrix(p, o->w[0], o->w[4], o->p[9], groups, times(kernel, inputs), lanes) ||
        !has_weights(p, o->w[1], bias) || !has_weights(p, o->w[2], bias) ||
        !has_weights(p, o->w[3], bias))
        return 0;
    if (!other) return o->delay == 0;
    /* the vectors of the last group may read beyond the last row of other; the floats go to lanes
       of out that nothing uses */
    const u64 last = times((u64)other->rows * p->block_frames - 1, other->ld);
    return other->rows == y->rows && groups * outputs <= other->ld &&
           other->offset + last + width <= p->scratch_floats && o->delay <= other->before &&
           has_state(p, o->delay_state, times(o->delay, other->ld));
}

static int check_recurrent(const struct part *p, const op_t *o, const value_t *x, const value_t *y,
                           const value_t *other) {
    const u64 size = o->p[0], gates = (o->kind == LSTM ? 4 : 3) * size;
    return is_vectors(size) && gates <= x->ld && size <= y->ld && x->rows == y->rows && other &&
           gates <= other->ld && has_state(p, o->state, o->kind == LSTM ? 2 * size : size) &&
           has_matrix(p, o->w[0], o->w[2], o->p[1], 1, size, gates) && has_weights(p, o->w[1], gates);
}

static int check_overlap(const struct part *p, const op_t *o, const value_t *x, const value_t *y) {
    const u64 kernel = o->p[0], stride = o->p[1];
    return is_size(kernel) && is_size(stride) && stride <= kernel && y->rows == stride * x->rows &&
           kernel * y->ld <= x->ld && has_state(p, o->state, (kernel - stride) * y->ld);
}

static int check_istft(const struct part *p, const op_t *o, const value_t *x, const value_t *y,
                       const value_t *other) {
    const u64 rows = o->p[0], columns = o->p[1], bins = o->p[2], lanes = (rows + UNIT - 1) / UNIT * UNIT;
    if (!is_size(rows) || !is_size(columns) || !is_size(bins) || rows % 2 || !other) return 0;
    const u64 size = times(rows, columns);
    /* the vectors of the last row of the frame write beyond its end */
    const u64 last = times((u64)y->rows * p->block_frames - 1, y->ld) + size + lanes - rows;
    return x->rows == y->rows && size / 2 < bins && 2 * bins <= x->ld && size <= y->ld &&
           y->offset + last <= p->scratch_floats && 2 * times(columns + 1, lanes) <= other->ld &&
           has_weights(p, o->w[0], rows * lanes) && has_weights(p, o->w[1], times(2 * columns, lanes)) &&
           has_weights(p, o->w[2], 2 * lanes) && has_weights(p, o->w[3], 2 * times(columns, columns)) &&
           has_weights(p, o->w[4], size);
}

static int check_search(const struct part *p, const op_t *o, const value_t *x) {
    const u64 levels = o->p[0], dim = o->p[1], size = o->p[2], code = times(levels, dim);
    return !p->decoder && is_size(levels) && is_size(dim) && is_vectors(size) && x->rows == 1 &&
           code <= x->ld && levels == p->output_size &&
           has_weights(p, o->w[0], times(code, size)) && has_weights(p, o->w[1], levels * size) &&
           has_weights(p, o->w[2], times((levels - 1) * dim, size)) &&
           has_weights(p, o->w[3], times(times(code, levels - 1), dim) / 2);
}

static int check_lookup(const struct part *p, const op_t *o, const value_t *y) {
    const u64 levels = o->p[0], dim = o->p[1], size = o->p[2], code = times(levels, dim);
    return p->decoder && is_size(levels) && is_size(dim) && is_size(size) && y->rows == 1 &&
           code + levels <= y->ld && levels == p->input_size &&
           has_weights(p, o->w[0], times(code, size));
}

static int check_op(const struct part *p, uint32_t n) {
    const op_t *o = &p->ops[n];
    if (o->kind >= OP_KINDS) return 0;
    const int has_in = o->kind != INPUT && o->kind != LOOKUP;
    const int has_out = o->kind != SEARCH && o->kind != OUTPUT;
    if (has_in && !is_made(p, n, o->in)) return 0;
    if (has_out && o->out >= p->value_count) return 0;
    const int is_scratch = o->kind == GRU || o->kind == LSTM || o->kind == ISTFT; /* other is written before it is read */
    if (o->other != NOTHING && (is_scratch ? o->other >= p->value_count : !is_made(p, n, o->other)))
        return 0;
    const value_t *x = has_in ? &p->values[o->in] : 0, *y = has_out ? &p->values[o->out] : 0;
    const value_t *other = o->other != NOTHING ? &p->values[o->other] : 0;
    const u64 size = o->p[0];
    switch (o->kind) {
    case CONV:
        return check_conv(p, o, x, y, other);
    case ACTIVATE:
        return size < ACTIVATIONS && is_same_shape(x, y) && is_vectors(y->ld) &&
               has_weights(p, o->w[0], y->ld) && has_weights(p, o->w[1], y->ld);
    case NORM:
        return is_size(size) && size <= x->ld && is_same_shape(x, y) && is_vectors(y->ld) &&
               has_weights(p, o->w[0], y->ld) && has_weights(p, o->w[1], y->ld) &&
               has_weights(p, o->w[2], 1);
    case DEPTHWISE:
        return is_size(size) && o->p[1] + (u64)1 == size && o->p[1] <= x->before &&
               is_same_shape(x, y) && is_vectors(y->ld) &&
               has_state(p, o->state, times(o->p[1], x->ld)) &&
               has_weights(p, o->w[0], times(size, y->ld)) && has_weights(p, o->w[1], y->ld);
    case MULTIPLY:
        return other && is_same_shape(x, y) && is_same_shape(x, other);
    case GRU:
    case LSTM:
        return check_recurrent(p, o, x, y, other);
    case OVERLAP:
        return check_overlap(p, o, x, y);
    case SEARCH:
        return check_search(p, o, x);
    case LOOKUP:
        return check_lookup(p, o, y);
    case HEAD:
        return is_vectors(size) && is_same_shape(x, y) && 2 * size <= y->ld;
    case INPUT:
        return !p->decoder && size == p->input_size && (u64)y->rows * y->ld == size;
    case OUTPUT:
        return p->decoder && size == p->output_size && o->p[1] <= x->ld &&
               (u64)x->rows * o->p[1] == size;
    case ISTFT:
        return check_istft(p, o, x, y, other);
    }
    return 0;
}

int check_part(const struct part *p) {
    if (!is_size(p->block_frames) || p->block_frames > MOST_FRAMES ||
        p->state_floats > MOST_FLOATS || p->scratch_floats > MOST_FLOATS ||
        !is_size(p->input_size) || !is_size(p->output_size) || p->op_count > MOST_OPS)
        return CHIRRUP_BAD_HEADER;
    if (!p->op_count) /* a program that only decodes */
        return p->decoder || p->value_count || p->state_floats || p->scratch_floats ? CHIRRUP_BAD_HEADER : CHIRRUP_OK;
    for (uint32_t i = 0; i < p->value_count; ++i)
        if (!check_value(p, &p->values[i])) return CHIRRUP_BAD_VALUE;
    for (uint32_t i = 0; i < p->op_count; ++i)
        if (!check_op(p, i)) return CHIRRUP_BAD_OPERATION;
    if (p->ops[p->op_count - 1].kind != (p->decoder ? OUTPUT : SEARCH)) return CHIRRUP_BAD_OPERATION;
    return CHIRRUP_OK;
}
