/* Run the operations of a program. check.c makes sure that they stay inside their memory. */
#include <string.h>

#include "chirrup.h"
#include "kernels.h"
#include "program.h"

typedef struct {
    const chirrup_program *program;
    const struct kernels *kernels;
    const value_t *values;
    float *scratch, *state;
    const void *in;
    void *out;
    int frames, stride, first; /* stride: frames of the whole call, first: of this block */
} run_t;

static float *at(const run_t *r, uint32_t value) { return r->scratch + r->values[value].offset; }
static const float *weight(const run_t *r, uint32_t w) {
    return w < r->program->weight_units ? r->program->weights + UNIT * (size_t)w : 0;
}
static const uint16_t *half(const run_t *r, uint32_t w) {
    const chirrup_program *p = r->program;
    return p->halves && w >= p->exact_units && w < p->weight_units ? p->halves + UNIT * (size_t)(w - p->exact_units) : 0;
}
static const int8_t *bytes(const run_t *r, uint32_t w) {
    const chirrup_program *p = r->program;
    return w >= p->weight_units ? p->bytes + UNIT * (size_t)(w - p->weight_units) : 0;
}
static int rows(const run_t *r, uint32_t value) { return (int)r->values[value].rows * r->frames; }

/* Put the rows of a state before a value. */
static void before(const run_t *r, uint32_t value, uint32_t past, uint32_t state) {
    const size_t ld = r->values[value].ld;
    memcpy(at(r, value) - past * ld, r->state + state, past * ld * sizeof(float));
}

static void after(const run_t *r, uint32_t value, uint32_t past, uint32_t state) {
    const size_t ld = r->values[value].ld;
    const float *last = at(r, value) + ((ptrdiff_t)rows(r, value) - (ptrdiff_t)past) * (ptrdiff_t)ld;
    memcpy(r->state + state, last, past * ld * sizeof(float));
}

static void run_conv(const run_t *r, const op_t *o) {
    const value_t *x = &r->values[o->in], *y = &r->values[o->out];
    const struct conv c = {
        .weight = weight(r, o->w[0]), .half = half(r, o->w[0]), .bytes = bytes(r, o->w[0]),
        .scale = weight(r, o->w[4]), .bias = weight(r, o->w[1]),
        .first = weight(r, o->w[2]), .second = weight(r, o->w[3]),
        .kernel = (int)o->p[0], .stride = (int)o->p[1], .dilation = (int)o->p[2], .groups = (int)o->p[3],
        .inputs = (int)o->p[4], .outputs = (int)o->p[5], .lanes = (int)o->p[6], .activation = (int)o->p[7],
        .is_rounded = !o->p[9],
    };
    const uint32_t past = o->p[8];
    const float *residual = 0;
    int ld_residual = 0;
    if (past) before(r, o->in, past, o->state);
    if (o->other != NOTHING) {
        if (o->delay) before(r, o->other, o->delay, o->delay_state);
        ld_residual = (int)r->values[o->other].ld;
        residual = at(r, o->other) - (ptrdiff_t)o->delay * ld_residual;
    }
    r->kernels->conv(&c, at(r, o->in) - (ptrdiff_t)past * x->ld, (int)x->ld, at(r, o->out), (int)y->ld,
                     rows(r, o->out), residual, ld_residual);
    if (past) after(r, o->in, past, o->state);
    if (o->other != NOTHING && o->delay) after(r, o->other, o->delay, o->delay_state);
}

static void run_recurrent(const run_t *r, const op_t *o) {
    /* in: [rows][gates], projected inputs; other: one row of gates for the recurrent product */
    const int size = (int)o->p[0], lstm = o->kind == LSTM, gates = lstm ? 4 * size : 3 * size;
    float *hidden = r->state + o->state, *cell = hidden + size, *product = at(r, o->other);
    const struct conv c = {
        .weight = weight(r, o->w[0]), .half = half(r, o->w[0]), .bytes = bytes(r, o->w[0]),
        .scale = weight(r, o->w[2]), .bias = weight(r, o->w[1]), .first = weight(r, o->w[1]), .second = weight(r, o->w[1]),
        .kernel = 1, .stride = 1, .dilation = 1, .groups = 1, .inputs = size, .outputs = gates, .lanes = gates,
        .is_rounded = !o->p[1],
    };
    const float *x = at(r, o->in);
    float *y = at(r, o->out);
    for (int t = 0; t < rows(r, o->out); ++t) {
        r->kernels->conv(&c, hidden, size, product, gates, 1, 0, 0);
        if (lstm) r->kernels->lstm(x, product, hidden, cell, size);
        else r->kernels->gru(x, product, hidden, size);
        memcpy(y, hidden, (size_t)size * sizeof(float));
        x += r->values[o->in].ld, y += r->values[o->out].ld;
    }
}

static void run_overlap(const run_t *r, const op_t *o) {
    const int kernel = (int)o->p[0], stride = (int)o->p[1], ld = (int)r->values[o->out].ld;
    const int kept = (kernel - stride) * ld, made = stride * ld;
    float *carry = r->state + o->state, *y = at(r, o->out);
    const float *x = at(r, o->in);
    for (int t = 0; t < rows(r, o->in); ++t, x += r->values[o->in].ld, y += made) {
        for (int i = 0; i < made; ++i) y[i] = x[i] + (i < kept ? carry[i] : 0);
        for (int i = 0; i < kept; ++i) carry[i] = x[made + i] + (made + i < kept ? carry[made + i] : 0);
    }
}

static void run_search(const run_t *r, const op_t *o) {
    const int levels = (int)o->p[0], dim = (int)o->p[1], size = (int)o->p[2];
    int32_t *codes = (int32_t *)r->out;
    for (int t = 0; t < r->frames; ++t) {
        float *rest = at(r, o->in) + (ptrdiff_t)t * r->values[o->in].ld;
        const float *tables = weight(r, o->w[0]), *offsets = weight(r, o->w[1]);
        const float *entries = weight(r, o->w[2]), *shares = weight(r, o->w[3]);
        for (int level = 0; level < levels; ++level) {
            const int code = r->kernels->nearest(rest + level * dim, dim, tables, offsets, size);
            codes[(ptrdiff_t)level * r->stride + r->first + t] = code;
            const int left = (levels - 1 - level) * dim;
            if (!left) break;
            const float *entry = entries + (ptrdiff_t)(code < 0 ? 0 : code) * dim;
            float *later = rest + (level + 1) * dim;
            for (int i = 0; i < dim; ++i)
                for (int j = 0; j < left; ++j) later[j] -= entry[i] * shares[(ptrdiff_t)i * left + j];
            tables += (ptrdiff_t)dim * size, offsets += size, entries += (ptrdiff_t)size * dim, shares += (ptrdiff_t)dim * left;
        }
    }
}

static void run_lookup(const run_t *r, const op_t *o) {
    const int levels = (int)o->p[0], dim = (int)o->p[1], size = (int)o->p[2];
    const int32_t *codes = (const int32_t *)r->in;
    for (int t = 0; t < r->frames; ++t) {
        float *y = at(r, o->out) + (ptrdiff_t)t * r->values[o->out].ld;
        const float *entries = weight(r, o->w[0]);
        for (int level = 0; level < levels; ++level, entries += (ptrdiff_t)size * dim) {
            const int32_t code = codes[(ptrdiff_t)level * r->stride + r->first + t];
            const int there = code >= 0 && code < size;
            if (there) memcpy(y + level * dim, entries + (ptrdiff_t)code * dim, (size_t)dim * sizeof(float));
            else memset(y + level * dim, 0, (size_t)dim * sizeof(float));
            y[levels * dim + level] = (float)there;
        }
    }
}

static void run_op(const run_t *r, const op_t *o) {
    const value_t *x = &r->values[o->in], *y = &r->values[o->out];
    switch (o->kind) {
    case CONV:
        run_conv(r, o);
        break;
    case ACTIVATE:
        r->kernels->activate((int)o->p[0], at(r, o->in), (int)x->ld, at(r, o->out), (int)y->ld, rows(r, o->out),
                             (int)y->ld, weight(r, o->w[0]), weight(r, o->w[1]));
        break;
    case NORM:
        r->kernels->norm(at(r, o->in), at(r, o->out), rows(r, o->out), (int)o->p[0], (int)y->ld,
                         weight(r, o->w[0]), weight(r, o->w[1]), *weight(r, o->w[2]));
        break;
    case DEPTHWISE:
        before(r, o->in, o->p[1], o->state);
        r->kernels->depthwise(at(r, o->in) - (ptrdiff_t)o->p[1] * x->ld, at(r, o->out), rows(r, o->out), (int)y->ld,
                              (int)o->p[0], weight(r, o->w[0]), weight(r, o->w[1]));
        after(r, o->in, o->p[1], o->state);
        break;
    case MULTIPLY: { /* p0: add instead */
        const float *a = at(r, o->in), *b = at(r, o->other);
        float *to = at(r, o->out);
        const ptrdiff_t n = (ptrdiff_t)rows(r, o->out) * y->ld;
        if (o->p[0]) for (ptrdiff_t i = 0; i < n; ++i) to[i] = a[i] + b[i];
        else for (ptrdiff_t i = 0; i < n; ++i) to[i] = a[i] * b[i];
        break;
    }
    case GRU:
    case LSTM:
        run_recurrent(r, o);
        break;
    case OVERLAP:
        run_overlap(r, o);
        break;
    case SEARCH:
        run_search(r, o);
        break;
    case LOOKUP:
        run_lookup(r, o);
        break;
    case HEAD:
        r->kernels->head(at(r, o->in), at(r, o->out), rows(r, o->out), (int)o->p[0], (int)y->ld);
        break;
    case ISTFT:
        r->kernels->istft(at(r, o->in), (int)x->ld, at(r, o->out), (int)y->ld, rows(r, o->out), (int)o->p[0],
                          (int)o->p[1], (int)o->p[2], at(r, o->other), weight(r, o->w[0]), weight(r, o->w[1]),
                          weight(r, o->w[2]), weight(r, o->w[3]), weight(r, o->w[4]));
        break;
    case INPUT:
        memcpy(at(r, o->out), (const float *)r->in + (size_t)r->first * o->p[0],
               (size_t)r->frames * o->p[0] * sizeof(float));
        break;
    case OUTPUT: {
        const float *from = at(r, o->in);
        float *to = (float *)r->out + (size_t)r->first * o->p[0];
        const size_t count = (size_t)r->frames * x->rows, width = o->p[1];
        for (size_t i = 0; i < count; ++i, from += x->ld, to += width) memcpy(to, from, width * sizeof(float));
        break;
    }
    }
}

int chirrup_run(const chirrup_program *p, int part, const void *in, void *out, int frames, float *state,
                float *scratch) {
    if (!p || !in || !out || !state || !scratch || frames < 1 || (part != 0 && part != 1))
        return CHIRRUP_BAD_ARGUMENT;
    if (!p->part[part].op_count) return CHIRRUP_NO_ENCODER;
    run_t r = {.program = p, .kernels = p->kernels, .values = p->part[part].values,
               .scratch = scratch, .state = state, .in = in, .out = out, .stride = frames};
    const op_t *ops = p->part[part].ops;
    for (; r.first < frames; r.first += r.frames) {
        r.frames = frames - r.first;
        if (r.frames > (int)p->block_frames) r.frames = (int)p->block_frames;
        for (uint32_t i = 0; i < p->part[part].op_count; ++i) run_op(&r, ops + i);
    }
    return CHIRRUP_OK;
}
