/* Convolutions and activations, a part of kernels.c. */
#include "kernels.h"
#include "vectors.h"

static INLINE vec activated(int kind, vec x, const float *first, const float *second) {
    switch (kind) {
    case SNAKE: {
        vec h = load(second);
        return x + h - h * cosine(load(first) * x);
    }
    case ELU:
        return pick(x > 0.0f, x, exponential(x) - 1.0f);
    case GELU:
        return gelu(x);
    case TANH:
        return hyperbolic_tangent(x);
    case LEAKY:
        return pick(x > 0.0f, x, x * load(first));
    default:
        return x;
    }
}

static INLINE void activate_rows(int kind, const float *x, int ld_x, float *y, int ld_y, int rows, int lanes,
                                 const float *first, const float *second) {
    for (int c = 0; c < lanes; c += VEC, first += VEC, second += VEC) {
        const float *from = x + c;
        float *to = y + c;
        int t = 0;
        for (; t + 4 <= rows; t += 4, from += (ptrdiff_t)4 * ld_x, to += (ptrdiff_t)4 * ld_y) {
            vec out[4];
            UNROLL (int n = 0; n < 4; ++n)
                out[n] = activated(kind, load(from + (ptrdiff_t)n * ld_x), first, second);
            UNROLL (int n = 0; n < 4; ++n) store(to + (ptrdiff_t)n * ld_y, out[n]);
        }
        for (; t < rows; ++t, from += ld_x, to += ld_y) store(to, activated(kind, load(from), first, second));
    }
}

/* The compiler makes no copy of it for the size of a tile. */
static NOINLINE void activate(int kind, const float *x, int ld_x, float *y, int ld_y, int rows, int lanes,
                              const float *first, const float *second) {
#define KIND(name)                                                                              \
    case name:                                                                                  \
        activate_rows(name, x, ld_x, y, ld_y, rows, lanes, first, second);                      \
        break
    switch (kind) {
        KIND(NONE);
        KIND(SNAKE);
        KIND(ELU);
        KIND(GELU);
        KIND(TANH);
        KIND(LEAKY);
    }
}

/* The rows of one group of a convolution. */
struct rows {
    const float *x, *residual;
    float *y;
    int ld_x, ld_residual, ld_y, step, count; /* step: floats of x from a row of y to the next one */
};

/* Add the residual to sums of rows from t on and lanes from j on, store them, and apply the activation. */
#define FINISH(R, V)                                                                            \
    float *y = rows->y + (ptrdiff_t)t * rows->ld_y + j;                                         \
    if (rows->residual)                                                                         \
        UNROLL (int r = 0; r < R; ++r)                                                          \
            UNROLL (int v = 0; v < V; ++v)                                                      \
                sum[r][v] += load(rows->residual + (ptrdiff_t)(t + r) * rows->ld_residual + j + VEC * v); \
    UNROLL (int r = 0; r < R; ++r)                                                              \
        UNROLL (int v = 0; v < V; ++v) store(y + (ptrdiff_t)r * rows->ld_y + VEC * v, sum[r][v]); \
    if (c->activation != NONE)                                                                  \
        activate(c->activation, y, rows->ld_y, y, rows->ld_y, R, VEC * V, c->first + j, c->second + j);

/* The sums of R rows and V vectors, from lane j on, for all whole tiles of R rows. Every output is the
   same chain of sums in each tile, so that a frame is bit-equal to a part of a block. It begins with BEGIN of the
   bias, and END completes it: floats begin with the bias, weights of 8 bits end with the scale and the bias. */
#define AS_IT_IS(sum, lane) (sum)
#define ZERO(bias) all(0)
#define SCALED(sum, lane) ((sum) * load(c->scale + (lane)) + load(c->bias + (lane)))
#define TILE(R, V, TYPE, LOAD, weights, BEGIN, END)                                             \
    for (; t + R <= rows->count; t += R) {                                                      \
        const TYPE *w = weights + j;                                                            \
        vec sum[R][V];                                                                          \
        UNROLL (int r = 0; r < R; ++r)                                                          \
            UNROLL (int v = 0; v < V; ++v) sum[r][v] = BEGIN(c->bias + j + VEC * v);            \
        for (int k = 0; k < c->kernel; ++k) {                                                   \
            const float *from = rows->x + (ptrdiff_t)t * rows->step + (ptrdiff_t)k * c->dilation * rows->ld_x; \
            for (int i = 0; i < c->inputs; ++i, w += c->lanes) {                                \
                vec weight[V];                                                                  \
                UNROLL (int v = 0; v < V; ++v) weight[v] = LOAD(w + VEC * v);                   \
                UNROLL (int r = 0; r < R; ++r) {                                                \
                    const float value = from[(ptrdiff_t)r * rows->step + i];                    \
                    UNROLL (int v = 0; v < V; ++v) sum[r][v] += value * weight[v];              \
                }                                                                               \
            }                                                                                   \
        }                                                                                       \
        UNROLL (int r = 0; r < R; ++r)                                                          \
            UNROLL (int v = 0; v < V; ++v) sum[r][v] = END(sum[r][v], j + VEC * v);             \
        FINISH(R, V)                                                                            \
    }

/* BLOCKS: tiles T(rows, vectors) whose sums and weights stay in the registers, from wide to narrow.
   ROWS: the same for one row. Its time is that of reading the weights, which is shorter in long pieces.
   The last ones are as wide as a unit of 16 floats. */
#if VEC == 16
#define BLOCKS                                                                                  \
    BLOCK(4, T(4, 4) T(1, 4))                                                                   \
    BLOCK(2, T(8, 2) T(4, 2) T(1, 2))                                                           \
    BLOCK(1, T(8, 1) T(4, 1) T(1, 1))
#define ROWS ROW(12) ROW(8) ROW(4) ROW(1)
#elif VEC == 8
#define BLOCKS BLOCK(2, T(4, 2) T(1, 2))
#define ROWS ROW(8) ROW(2)
#elif defined(__aarch64__)
#define BLOCKS BLOCK(4, T(4, 4) T(1, 4))
#define ROWS ROW(8) ROW(4)
#else
#define BLOCKS BLOCK(4, T(2, 4) T(1, 4))
#define ROWS ROW(8) ROW(4)
#endif
#define FEWEST 4 /* rows of a block */

#define BLOCK(V, TILES)                                                                         \
    for (; j + VEC * V <= c->lanes; j += VEC * V) {                                             \
        int t = 0;                                                                              \
        TILES                                                                                   \
    }
#define ROW(V)                                                                                  \
    for (; j + VEC * V <= c->lanes; j += VEC * V) {                                             \
        int t = 0;                                                                              \
        T(1, V)                                                                                 \
    }

#define T(R, V) TILE(R, V, float, load, c->weight, load, AS_IT_IS)
static NOINLINE void conv_block(const struct conv *c, const struct rows *rows) {
    int j = 0;
    BLOCKS
}

static NOINLINE void conv_row(const struct conv *c, const struct rows *rows) {
    int j = 0;
    ROWS
}
#undef T

/* Float16 weights take half of the memory traffic. They become equal floats: results are equal too. */
#if HAS_HALF
#define T(R, V) TILE(R, V, uint16_t, load_half, c->half, load, AS_IT_IS)
static NOINLINE void conv_row_half(const struct conv *c, const struct rows *rows) {
    int j = 0;
    ROWS
}
#undef T
#endif

/* Weights of 8 bits whose inputs are not rounded take a quarter of it. */
#define T(R, V) TILE(R, V, int8_t, load_int8, c->bytes, ZERO, SCALED)
static NOINLINE void conv_block_int8(const struct conv *c, const struct rows *rows) {
    int j = 0;
    BLOCKS
}

static NOINLINE void conv_row_int8(const struct conv *c, const struct rows *rows) {
    int j = 0;
    ROWS
}
#undef T

/* Convolutions with weights of 8 bits and rounded inputs. */

/* Round the inputs of one output, c->kernel pieces of x, to q, with zeros up to a multiple of 4. Return the
   scale, and in total the sum of q. */
static NOINLINE float quantize(const struct conv *c, const float *x, ptrdiff_t ld, int8_t *q, int32_t *total) {
    const int inputs = c->inputs, rest = inputs % VEC, whole = inputs - rest;
    const uvec magnitude = (uvec){0} + 0x7fffffffu;
    vec most = all(0);
    for (int k = 0; k < c->kernel; ++k)
        for (int i = 0; i < inputs; i += VEC) {
            float last[VEC] = {0};
            if (i == whole) memcpy(last, x + k * ld + i, (size_t)rest * sizeof(float));
            const vec size = (vec)((uvec)load(i == whole ? last : x + k * ld + i) & magnitude);
            most = pick(size > most, size, most);
        }
    float largest = 0;
    for (int i = 0; i < VEC; ++i)
        if (most[i] > largest) largest = most[i];
    const vec factor = all(largest > 1e-30f ? 127.0f / largest : 0); /* so that it is finite */
    const vec magic = all(12582912.0f); /* adding it rounds; the last byte of the sum is the result */
    uvec sum = {0};
    for (int k = 0; k < c->kernel; ++k)
        for (int i = 0; i < inputs; i += VEC) {
            float last[VEC] = {0};
            if (i == whole) memcpy(last, x + k * ld + i, (size_t)rest * sizeof(float));
            const ivec bits = (ivec)(load(i == whole ? last : x + k * ld + i) * factor + magic);
            sum += (uvec)bits - (uvec)magic;
            const bvec bytes = __builtin_convertvector(bits, bvec);
            memcpy(q + k * inputs + i, &bytes, VEC); /* the bytes behind a piece are overwritten */
        }
    memset(q + c->kernel * inputs, 0, 4);
    uint32_t all_sums = 0;
    for (int i = 0; i < VEC; ++i) all_sums += sum[i];
    *total = (int32_t)all_sums;
    return largest / 127.0f;
}

/* The integers of R rows, and V vectors from lane j on, and from them the outputs. */
#define TILE_BYTES(R, V)                                                                        \
    for (; j + VEC * V <= c->lanes; j += VEC * V) {                                             \
        const int8_t *w = c->bytes + 4 * j;                                                     \
        ivec total[R][V];                                                                       \
        UNROLL (int r = 0; r < R; ++r)                                                          \
            UNROLL (int v = 0; v < V; ++v) total[r][v] = (ivec){0} + shift[r];                  \
        for (int i = 0; i < depth; i += 4, w += 4 * c->lanes) {                                 \
            ivec weight[V];                                                                     \
            UNROLL (int v = 0; v < V; ++v) weight[v] = load_bytes(w + 4 * VEC * v);             \
            UNROLL (int r = 0; r < R; ++r) {                                                    \
                int32_t four;                                                                   \
                memcpy(&four, q[r] + i, sizeof four);                                           \
                const ivec value = (ivec){0} + four;                                            \
                UNROLL (int v = 0; v < V; ++v) total[r][v] = ADD_DOT(total[r][v], weight[v], value); \
            }                                                                                   \
        }                                                                                       \
        vec sum[R][V];                                                                          \
        UNROLL (int r = 0; r < R; ++r)                                                          \
            UNROLL (int v = 0; v < V; ++v)                                                      \
                sum[r][v] = __builtin_convertvector(total[r][v], vec) * scale[r] * load(c->scale + j + VEC * v) + \
                            load(c->bias + j + VEC * v);                                        \
        FINISH(R, V)                                                                            \
    }

#if VEC == 16
#define BLOCK_BYTES TILE_BYTES(4, 4) TILE_BYTES(4, 1)
#define ROW_BYTES TILE_BYTES(1, 8) TILE_BYTES(1, 1)
#elif VEC == 8
#define BLOCK_BYTES TILE_BYTES(4, 2)
#define ROW_BYTES TILE_BYTES(1, 4) TILE_BYTES(1, 2)
#else
#define BLOCK_BYTES TILE_BYTES(4, 2)
#define ROW_BYTES TILE_BYTES(1, 4)
#endif

#define NAME conv_bytes
#define TARGET
#define ADD_DOT(sum, w, x) ((sum) + dot(w, x))
#define SHIFT 0
#include "conv_bytes.h"

/* AVX-512 VNNI: one instruction, which needs unsigned weights. The sums have then 128 times the sum of the
   inputs too much. */
#define HAS_VNNI (VEC == 16)
#if HAS_VNNI
#undef NAME
#undef TARGET
#undef ADD_DOT
#undef SHIFT
#define NAME conv_bytes_vnni
#define TARGET __attribute__((target("avx512vnni")))
#define ADD_DOT(sum, w, x)                                                                      \
    (ivec)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)((w) ^ (ivec)((uvec){0} + 0x80808080u)), (__m512i)(x))
#define SHIFT 128
#include "conv_bytes.h"
#endif

static INLINE void conv_groups(const struct conv *whole, const float *x, int ld_x, float *y, int ld_y, int count,
                               const float *residual, int ld_residual,
                               void (*bytes)(const struct conv *c, const struct rows *rows)) {
    struct conv c = *whole;
    struct rows rows = {x, residual, y, ld_x, ld_residual, ld_y, c.stride * ld_x, count};
    const ptrdiff_t depth = (ptrdiff_t)c.kernel * c.inputs, matrix = depth * c.lanes;
    for (int g = 0; g < c.groups; ++g) {
        if (c.bytes && c.is_rounded) bytes(&c, &rows);
        else if (c.bytes) (count >= FEWEST ? conv_block_int8 : conv_row_int8)(&c, &rows);
        else if (count >= FEWEST) conv_block(&c, &rows);
#if HAS_HALF
        else if (c.half) conv_row_half(&c, &rows);
#endif
        else conv_row(&c, &rows);
        if (c.bytes) c.bytes += c.is_rounded ? (depth + 3) / 4 * 4 * c.lanes : matrix, c.scale += c.lanes;
        else c.weight += matrix;
        if (c.half) c.half += matrix;
        c.bias += c.lanes, c.first += c.lanes, c.second += c.lanes;
        rows.x += c.inputs, rows.y += c.outputs;
        if (residual) rows.residual += c.outputs;
    }
}

static void conv(const struct conv *c, const float *x, int ld_x, float *y, int ld_y, int count,
                 const float *residual, int ld_residual) {
    conv_groups(c, x, ld_x, y, ld_y, count, residual, ld_residual, conv_bytes);
}

#if HAS_VNNI
static void conv_vnni(const struct conv *c, const float *x, int ld_x, float *y, int ld_y, int count,
                      const float *residual, int ld_residual) {
    conv_groups(c, x, ld_x, y, ld_y, count, residual, ld_residual, conv_bytes_vnni);
}
#endif
