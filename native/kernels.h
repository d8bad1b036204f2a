/* Vector kernels. This file is compiled once for each instruction set (see kernels.c). */
#ifndef KERNELS_H
#define KERNELS_H
#include <stddef.h>
#include <stdint.h>

#include "chirrup.h"

enum activation { NONE, SNAKE, ELU, GELU, TANH, LEAKY, ACTIVATIONS };

#define MOST_BYTES 4096 /* kernel * inputs of a group of a convolution with weights of 8 bits and rounded inputs */

struct conv {
    const float *weight; /* [groups][kernel][inputs of a group][lanes of a group] */
    const uint16_t *half; /* the weights as float16, or null */
    const int8_t *bytes; /* instead of weight, or null: if the inputs are rounded, [groups][(kernel * inputs of a
                            group + 3) / 4][lanes][4], else in the order of weight */
    const float *scale;  /* of bytes, [groups][lanes] */
    const float *bias;   /* [groups][lanes of a group] */
    const float *first, *second; /* parameters of the activation, [groups][lanes] */
    int kernel, stride, dilation, groups, inputs, lanes; /* inputs and lanes of a group */
    int outputs; /* lanes of a group that are stored */
    int activation, is_rounded; /* is_rounded: whether the inputs of bytes are rounded */
};

struct kernels {
    int has_half; /* whether conv reads weights as float16 */
    void (*conv)(const struct conv *c, const float *x, int ld_x, float *y, int ld_y, int rows,
                 const float *residual, int ld_residual);
    void (*activate)(int kind, const float *x, int ld_x, float *y, int ld_y, int rows, int lanes,
                     const float *first, const float *second);
    void (*norm)(const float *x, float *y, int rows, int channels, int ld, const float *gain,
                 const float *bias, float eps);
    void (*depthwise)(const float *x, float *y, int rows, int ld, int kernel, const float *weight,
                      const float *bias);
    void (*gru)(const float *x, const float *product, float *hidden, int size);
    void (*lstm)(const float *x, const float *product, float *hidden, float *cell, int size);
    int (*nearest)(const float *x, int dim, const float *table, const float *offset, int size);
    void (*istft)(const float *x, int ld_x, float *y, int ld_y, int count, int rows, int columns, int bins,
                  float *turned, const float *inner, const float *turn, const float *ends,
                  const float *outer, const float *window);
    void (*head)(const float *x, float *y, int rows, int bins, int ld);
};

extern const struct kernels kernels_base, kernels_avx2, kernels_avx512, kernels_vnni;

/* For tests, not in chirrup.h: run an opened program with kernels number n that this processor can run.
   0 are the best ones, which chirrup_open chooses. Return CHIRRUP_BAD_ARGUMENT if there are fewer. */
CHIRRUP_API int chirrup_use_kernels(chirrup_program *program, int n);
#endif
