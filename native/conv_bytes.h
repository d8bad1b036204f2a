/* Convolutions with weights of 8 bits, a part of conv.h.

   The inputs of an output are rounded to 8 bits with a scale of their own, so that a frame is bit-equal to a
   part of a block. Sums of products are exact integers, which are equal with all instruction sets. */

/* Round the inputs of one output, c->kernel pieces of x, to q, with zeros up to a multiple of 4. Return the
   scale. */
static NOINLINE float quantize(const struct conv *c, const float *x, ptrdiff_t ld, int8_t *q) {
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
    for (int k = 0; k < c->kernel; ++k)
        for (int i = 0; i < inputs; i += VEC) {
            float last[VEC] = {0};
            if (i == whole) memcpy(last, x + k * ld + i, (size_t)rest * sizeof(float));
            const ivec bits = (ivec)(load(i == whole ? last : x + k * ld + i) * factor + magic);
            const bvec bytes = __builtin_convertvector(bits, bvec);
            memcpy(q + k * inputs + i, &bytes, VEC); /* the bytes behind a piece are overwritten */
        }
    memset(q + c->kernel * inputs, 0, 4);
    return largest / 127.0f;
}

/* The integers of R rows, and V vectors from lane j on, and from them the outputs. */
#define TILE_BYTES(R, V)                                                                        \
    for (; j + VEC * V <= c->lanes; j += VEC * V) {                                             \
        const int8_t *w = c->bytes + 4 * j;                                                     \
        ivec total[R][V];                                                                       \
        UNROLL (int r = 0; r < R; ++r)                                                          \
            UNROLL (int v = 0; v < V; ++v) total[r][v] = (ivec){0};                             \
        for (int i = 0; i < depth; i += 4, w += 4 * c->lanes) {                                 \
            ivec weight[V];                                                                     \
            UNROLL (int v = 0; v < V; ++v) weight[v] = load_bytes(w + 4 * VEC * v);             \
            UNROLL (int r = 0; r < R; ++r) {                                                    \
                int32_t four;                                                                   \
                memcpy(&four, q[r] + i, sizeof four);                                           \
                const ivec value = (ivec){0} + four;                                            \
                UNROLL (int v = 0; v < V; ++v) total[r][v] += dot(weight[v], value);            \
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

static NOINLINE void conv_bytes(const struct conv *c, const struct rows *rows) {
    int8_t q[4][MOST_BYTES + VEC];
    float scale[4];
    const int depth = c->kernel * c->inputs;
    const ptrdiff_t ld = (ptrdiff_t)c->dilation * rows->ld_x;
    int t = 0;
    for (; t + 4 <= rows->count; t += 4) {
        for (int r = 0; r < 4; ++r) scale[r] = quantize(c, rows->x + (ptrdiff_t)(t + r) * rows->step, ld, q[r]);
        int j = 0;
        BLOCK_BYTES
    }
    for (; t < rows->count; ++t) {
        scale[0] = quantize(c, rows->x + (ptrdiff_t)t * rows->step, ld, q[0]);
        int j = 0;
        ROW_BYTES
    }
}
