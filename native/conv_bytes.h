/* Convolutions with weights of 8 bits and rounded inputs, a part of conv.h. It defines NAME, with ADD_DOT(sum, weights, inputs)
   whose products are too large by SHIFT times the inputs.

   The inputs of an output are rounded to 8 bits with a scale of their own, so that a frame is bit-equal to a
   part of a block. Sums of products are exact integers, which are equal with all instruction sets. */

static NOINLINE TARGET void NAME(const struct conv *c, const struct rows *rows) {
    int8_t q[4][MOST_BYTES + VEC];
    float scale[4];
    int32_t shift[4]; /* minus the part of a sum that is too much, modulo 2^32 */
    const int depth = c->kernel * c->inputs;
    const ptrdiff_t ld = (ptrdiff_t)c->dilation * rows->ld_x;
    int t = 0;
    for (; t + 4 <= rows->count; t += 4) {
        for (int r = 0; r < 4; ++r) {
            scale[r] = quantize(c, rows->x + (ptrdiff_t)(t + r) * rows->step, ld, q[r], &shift[r]);
            shift[r] = (int32_t)(0 - (uint32_t)shift[r] * SHIFT);
        }
        int j = 0;
        BLOCK_BYTES
    }
    for (; t < rows->count; ++t) {
        scale[0] = quantize(c, rows->x + (ptrdiff_t)t * rows->step, ld, q[0], &shift[0]);
        shift[0] = (int32_t)(0 - (uint32_t)shift[0] * SHIFT);
        int j = 0;
        ROW_BYTES
    }
}
