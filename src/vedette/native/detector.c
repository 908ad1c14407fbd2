/* The forward pass of AnomalyDetector (model/anomaly_detector.py) on one thread, for the small batches of live traffic.

   A general runtime pays for every operator of its graph, most of all where a run of 15 to 20 tokens finds the caches
   full of other work; this pays once for a run. Only tokens of text are computed: words of the context add their
   embeddings to every token and are no more than that, and padding is skipped.

   Matrices are multiplied in fixed point: activations of 12 bits with a scale for each token, weights of as many bits
   as a sum of so many products leaves room for in 32 (13 and more), with a scale for each output. Attention and norms
   are computed in single precision. A row's result does not depend on its neighbours, unless it is of the same long text.

   Where the model has an early exit, the last layer runs only around the tokens that are not told to be harmless before
   it (EarlyExit in model/anomaly_detector.py).

   Needs AVX2 and FMA, which vedette_supported() tells of; runtime_native.py is the caller and lays the weights out.
   Where the processor has AVX-512 VNNI, matrices are multiplied by it: the same whole numbers, a quarter of the
   instructions. */

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

enum {
    BLOCK = 16,         /* outputs of a matrix that are computed together; rows of weights are padded to it */
    LANES = 8,          /* numbers of a vector */
    SPARE = 5 * LANES,  /* keys that may be read, and scores written, behind the last */
    GROUP_TOKENS = 64,  /* rows of a batch run together up to so many tokens, which the caches hold */
    MAX_HEAD = 64,
    MOST_LAYERS = 16,   /* of a model whose long texts are computed at once */
    ACTIVATION_MAX = 2047,
    NOTHING = -10000 /* logits of a row without text */
};

static const float UNSEEN = -1e30f; /* score of a key out of reach */

typedef struct {
    const int16_t *weights; /* [outputs / BLOCK][inputs / 2][BLOCK][2] */
    const float *scale;     /* [outputs] */
    const float *bias;      /* [outputs] */
    int32_t inputs, outputs; /* outputs: padded */
} Linear;

typedef struct {
    const float *norm1_weight, *norm1_bias, *norm2_weight, *norm2_bias; /* [d_model] */
    Linear qkv, out, up, down;
} Layer;

struct Model {
    const float *tokens; /* [vocab][d_model] */
    const Layer *layers;
    const float *norm_weight, *norm_bias; /* [d_model] */
    Linear odds;
    const float *exit; /* [d_model]; NULL: there is no early exit */
    float exit_bias, exit_below, exit_share;
    const float *cosines, *sines; /* [positions][head size / 2] */
    const float *aside;           /* [odds.outputs], added before the strongest attack is chosen */
    int32_t d_model, n_heads, d_ff, n_layers, classes; /* classes: without benign */
    int32_t vocab, context_tokens, window, max_tokens;
    int32_t positions; /* at least max_tokens; how long a text may be that is computed at once */
};

typedef struct {
    float *x;       /* [tokens][d_model] residual stream */
    float *qkv;     /* [tokens][3 d_model] */
    float *wide;    /* [tokens][max(d_ff, d_model, odds.outputs)] */
    float *keys;    /* [d_model][tokens + SPARE] keys, transposed; of all heads, or the first part of one */
    float *odds;    /* [tokens][odds.outputs] */
    float *mixes;   /* [tokens][d_model] of tokens that the last layer reads, gathered, */
    float *last;    /* [tokens][d_model] and their residual stream */
    float *guesses; /* [tokens] */
    float *scores;  /* [2][scores_width()] */
    float *scales;  /* [tokens] */
    float *context; /* [d_model] sum of a row's context */
    int16_t *fixed; /* [tokens][max(d_model, d_ff)] */
    int32_t *positions; /* [tokens] place of a token in its row */
    int32_t *hot;       /* [tokens] which tokens are gathered */
    int32_t gathered;
    uint16_t *pairs;    /* [tokens][d_ff / 2] pairs of inputs that are not zero */
    int32_t *counts;    /* [tokens] how many of them */
} Scratch;

/* Scores of two neighbours' keys, rounded up. */
static inline int scores_width(const Model *model) { return 2 * model->window + 2 + SPARE; }

/* Eight numbers at once; GCC and Clang turn them into whatever the processor has. Loaded from any address. */
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

static inline Vector load(const float *from) {
    Vector value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void save(float *to, Vector value) { memcpy(to, &value, sizeof value); }

static inline Vector larger(Vector a, Vector b) {
    Integers is_a = a > b;
    return (Vector)((is_a & (Integers)a) | (~is_a & (Integers)b));
}

static inline float sum_of(Vector v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

static inline float largest_of(Vector v) {
    float largest = v[0];
    for (int i = 1; i < LANES; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
}

static inline Vector sizes(Vector x) { return (Vector)((Integers)x & INT32_MAX); }

/* To the nearest whole number. */
static inline Integers whole(Vector x) { return (Integers)_mm256_cvtps_epi32((__m256)x); }

/* e^x for x <= 88, 0 below -87; within 2 units in the last place (Cephes' polynomial). */
static inline Vector exponential(Vector x) {
    Integers is_normal = x > -87.0f;
    Integers n = whole(x * 1.44269504f);
    Vector times = __builtin_convertvector(n, Vector);
    Vector r = x - times * 0.693359375f + times * 2.12194440e-4f;
    Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Vector)((Integers)(p * (Vector)((n + 127) << 23)) & is_normal);
}

/* x [count][width] -> fixed, and for each row the factor that takes a product back. Widths are multiples of BLOCK. */
static void quantise(const float *x, int count, int width, int16_t *fixed, float *scales) {
    for (int row = 0; row < count; row++, x += width, fixed += width) {
        Vector first = {0}, second = {0};
        for (int i = 0; i < width; i += BLOCK) {
            first = larger(first, sizes(load(x + i)));
            second = larger(second, sizes(load(x + i + LANES)));
        }
        float largest = largest_of(larger(first, second)) + 1e-20f;
        float scale = ACTIVATION_MAX / largest;
        scales[row] = largest / ACTIVATION_MAX;
        for (int i = 0; i < width; i += BLOCK) {
            __m256i low = (__m256i)whole(load(x + i) * scale), high = (__m256i)whole(load(x + i + LANES) * scale);
            __m256i mixed = _mm256_packs_epi32(low, high); /* in quarters 0 2 1 3 */
            _mm256_storeu_si256((__m256i *)(fixed + i), _mm256_permute4x64_epi64(mixed, 0xD8));
        }
    }
}

static void normalise(const float *x, int count, int width, const float *weight, const float *bias, float *to) {
    for (int row = 0; row < count; row++, x += width, to += width) {
        Vector sum = {0}, squares = {0};
        for (int i = 0; i < width; i += LANES) sum += load(x + i);
        float mean = sum_of(sum) / (float)width;
        for (int i = 0; i < width; i += LANES) {
            Vector off = load(x + i) - mean;
            squares += off * off;
        }
        float scale = 1.0f / sqrtf(sum_of(squares) / (float)width + 1e-5f);
        for (int i = 0; i < width; i += LANES)
            save(to + i, (load(x + i) - mean) * scale * load(weight + i) + load(bias + i));
    }
}

enum Store { SET, ADD, SET_POSITIVE };

/* A block of outputs of one token: sums of products -> to. */
static inline void store(Integers low, Integers high, float factor, const float *scale, const float *bias, float *to,
                         enum Store how) {
    Vector first = __builtin_convertvector(low, Vector) * (load(scale) * factor) + load(bias);
    Vector second = __builtin_convertvector(high, Vector) * (load(scale + LANES) * factor) + load(bias + LANES);
    if (how == ADD) {
        first += load(to);
        second += load(to + LANES);
    } else if (how == SET_POSITIVE) {
        first = larger(first, (Vector){0});
        second = larger(second, (Vector){0});
    }
    save(to, first);
    save(to + LANES, second);
}

/* Sums of a pair of inputs, times their weights for eight outputs. */
static inline Integers products(const int16_t *pair, const int16_t *weights) {
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return (Integers)_mm256_madd_epi16(_mm256_set1_epi32(both), _mm256_loadu_si256((const __m256i *)weights));
}

/* A block of outputs of a few rows; from the pairs of inputs that `pairs` names, or from all where that is NULL. */
static inline __attribute__((always_inline)) void multiply_rows(const Linear *linear, int block, const int16_t *fixed,
                                                                const float *factors, int rows, const uint16_t *pairs,
                                                                int count, float *to, int stride, enum Store how) {
    const int16_t *weights = linear->weights + (size_t)block * linear->inputs;
    Integers low[4], high[4];
    for (int r = 0; r < rows; r++) low[r] = high[r] = (Integers){0};
    for (int at = 0; at < count; at++) {
        int k = pairs ? pairs[at] : at;
        for (int r = 0; r < rows; r++) {
            const int16_t *pair = fixed + r * linear->inputs + 2 * k;
            low[r] += products(pair, weights + 2 * BLOCK * k);
            high[r] += products(pair, weights + 2 * BLOCK * k + BLOCK);
        }
    }
    for (int r = 0; r < rows; r++)
        store(low[r], high[r], factors[r], linear->scale + block, linear->bias + block,
              to + (size_t)r * stride + block, how);
}

/* How many rows are computed together where so many are left. */
static inline int rows_together(int left) { return left >= 4 ? 4 : left >= 2 ? 2 : 1; }

/* Pairs of inputs that are not zero in all of a few rows -> pairs; returns how many. */
static int pairs_used(const int16_t *fixed, int inputs, int rows, uint16_t *pairs) {
    int count = 0;
    for (int k = 0; k < inputs; k += BLOCK) {
        __m256i any = _mm256_loadu_si256((const __m256i *)(fixed + k));
        for (int r = 1; r < rows; r++)
            any = _mm256_or_si256(any, _mm256_loadu_si256((const __m256i *)(fixed + r * inputs + k)));
        __m256i zero = _mm256_cmpeq_epi32(any, _mm256_setzero_si256());
        unsigned used = ~(unsigned)_mm256_movemask_ps((__m256)zero) & 0xFF;
        for (; used; used &= used - 1) pairs[count++] = (uint16_t)(k / 2 + __builtin_ctz(used));
    }
    return count;
}

/* Whether the processor and the system have AVX-512 with VNNI, and it is to be used; see vedette_wide(). */
static int is_wide;

typedef struct {
    int16_t both[2];
} Pair;

#define WIDE __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")))

/* Adds a pair of inputs times their weights to sums, in place: what compilers make of the intrinsic copies all sums at
   every step. */
WIDE static inline __m512i plus_products(__m512i sums, __m512i weights, const int16_t *pair) {
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(weights), "m"(*(const Pair *)pair));
    return sums;
}

/* As multiply_rows, for one block or two side by side. */
WIDE static inline __attribute__((always_inline)) void multiply_rows_wide(const Linear *linear, int block, int blocks,
                                                                          const int16_t *fixed, const float *factors,
                                                                          int rows, const uint16_t *pairs, int count,
                                                                          float *to, int stride, enum Store how) {
    const int16_t *weights = linear->weights + (size_t)block * linear->inputs;
    __m512i sums[2][4];
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) sums[b][r] = _mm512_setzero_si512();
    for (int at = 0; at < count; at++) {
        int k = pairs ? pairs[at] : at;
        __m512i own[2];
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++)
            own[b] = _mm512_loadu_si512(weights + (size_t)b * BLOCK * linear->inputs + 2 * BLOCK * k);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const int16_t *pair = fixed + r * linear->inputs + 2 * k;
#pragma GCC unroll 2
            for (int b = 0; b < blocks; b++) sums[b][r] = plus_products(sums[b][r], own[b], pair);
        }
    }
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            int first = block + b * BLOCK;
            Integers low = (Integers)_mm512_castsi512_si256(sums[b][r]);
            Integers high = (Integers)_mm512_extracti64x4_epi64(sums[b][r], 1);
            store(low, high, factors[r], linear->scale + first, linear->bias + first, to + (size_t)r * stride + first,
                  how);
        }
}

WIDE static inline __attribute__((always_inline)) void multiply_blocks_wide(const Linear *linear, int block, int blocks,
                                                                            const int16_t *fixed, const float *scales,
                                                                            int count, const uint16_t *pairs,
                                                                            const int32_t *counts, float *to,
                                                                            int stride, enum Store how) {
    int inputs = linear->inputs;
    for (int row = 0, rows; row < count; row += rows) {
        const int16_t *from = fixed + (size_t)row * inputs;
        const uint16_t *used = pairs ? pairs + (size_t)row * (inputs / 2) : NULL;
        float *line = to + (size_t)row * stride;
        int steps = pairs ? counts[row] : inputs / 2;
        rows = rows_together(count - row);
        if (rows == 4)
            multiply_rows_wide(linear, block, blocks, from, scales + row, 4, used, steps, line, stride, how);
        else if (rows == 2)
            multiply_rows_wide(linear, block, blocks, from, scales + row, 2, used, steps, line, stride, how);
        else
            multiply_rows_wide(linear, block, blocks, from, scales + row, 1, used, steps, line, stride, how);
    }
}

WIDE static void multiply_wide(const Linear *linear, const int16_t *fixed, const float *scales, int count,
                               const uint16_t *pairs, const int32_t *counts, float *to, int stride, enum Store how) {
    int block = 0;
    for (; block + 2 * BLOCK <= linear->outputs; block += 2 * BLOCK)
        multiply_blocks_wide(linear, block, 2, fixed, scales, count, pairs, counts, to, stride, how);
    if (block < linear->outputs)
        multiply_blocks_wide(linear, block, 1, fixed, scales, count, pairs, counts, to, stride, how);
}

/* fixed [count][inputs] with scales [count] -> to [count][stride >= outputs]. With room for `pairs` [count][inputs / 2] and their
   `counts` [count], inputs that are zero are skipped. */
static inline __attribute__((always_inline)) void multiply(const Linear *linear, const int16_t *fixed,
                                                           const float *scales, int count, uint16_t *pairs,
                                                           int32_t *counts, float *to, int stride,
                                                           enum Store how) {
    int inputs = linear->inputs;
    for (int row = 0, rows; pairs && row < count; row += rows) {
        rows = rows_together(count - row);
        counts[row] = pairs_used(fixed + (size_t)row * inputs, inputs, rows, pairs + (size_t)row * (inputs / 2));
    }
    if (is_wide) {
        multiply_wide(linear, fixed, scales, count, pairs, counts, to, stride, how);
        return;
    }
    for (int block = 0; block < linear->outputs; block += BLOCK) {
        for (int row = 0, rows; row < count; row += rows) {
            const int16_t *from = fixed + (size_t)row * inputs;
            const uint16_t *used = pairs ? pairs + (size_t)row * (inputs / 2) : NULL;
            float *line = to + (size_t)row * stride;
            const float *factors = scales + row;
            int steps = pairs ? counts[row] : inputs / 2;
            rows = rows_together(count - row);
            if (rows == 4)
                multiply_rows(linear, block, from, factors, 4, used, steps, line, stride, how);
            else if (rows == 2)
                multiply_rows(linear, block, from, factors, 2, used, steps, line, stride, how);
            else
                multiply_rows(linear, block, from, factors, 1, used, steps, line, stride, how);
        }
    }
}

/* query . key of `queries` tokens for `blocks` x LANES keys, which lie transposed -> scores [queries][width]. */
static inline __attribute__((always_inline)) void score(const float *query, int apart, int queries, const float *keys,
                                                        int size, int stride, int blocks, float *scores, int width) {
    Vector sums[2][5];
    for (int q = 0; q < queries; q++)
        for (int b = 0; b < blocks; b++) sums[q][b] = (Vector){0};
    for (int i = 0; i < size; i++, keys += stride)
        for (int b = 0; b < blocks; b++) {
            Vector key = load(keys + b * LANES);
            for (int q = 0; q < queries; q++) sums[q][b] += key * query[q * apart + i];
        }
    for (int q = 0; q < queries; q++)
        for (int b = 0; b < blocks; b++) save(scores + q * width + b * LANES, sums[q][b]);
}

/* Rotates the queries of one head by their positions, and divides them by the root of its size. */
static void rotate_queries(const Model *model, const int32_t *positions, float *qkv, int count, int size) {
    int half = size / 2;
    float factor = 1.0f / sqrtf((float)size);
    for (int t = 0; t < count; t++, qkv += 3 * model->d_model) {
        const float *cosines = model->cosines + positions[t] * half, *sines = model->sines + positions[t] * half;
        for (int i = 0; i < half; i += LANES) {
            Vector cosine = load(cosines + i), sine = load(sines + i);
            Vector a = load(qkv + i) * factor, b = load(qkv + half + i) * factor;
            save(qkv + i, a * cosine - b * sine);
            save(qkv + half + i, b * cosine + a * sine);
        }
    }
}

/* Rotates the keys of one head by their positions, to `keys`, transposed, and zeros to where more of them may be
   read. */
static void rotate_keys(const Model *model, const int32_t *positions, const float *qkv, int count, int size, int stride,
                        float *keys) {
    int d = model->d_model, half = size / 2;
    for (int t = 0; t < count; t++, qkv += 3 * d) {
        const float *cosines = model->cosines + positions[t] * half, *sines = model->sines + positions[t] * half;
        for (int i = 0; i < half; i += LANES) {
            Vector cosine = load(cosines + i), sine = load(sines + i), a = load(qkv + d + i), b = load(qkv + d + half + i);
            Vector first = a * cosine - b * sine, second = b * cosine + a * sine;
            for (int lane = 0; lane < LANES; lane++) {
                keys[(i + lane) * stride + t] = first[lane];
                keys[(i + half + lane) * stride + t] = second[lane];
            }
        }
    }
    for (int i = 0; i < size; i++) memset(keys + i * stride + count, 0, SPARE * sizeof *keys);
}

/* Scores [width] of the keys, of which those in [from, end) count -> shares that are yet to be divided by the sum. */
static inline float share_out(float *scores, int from, int end, int seen) {
    for (int at = 0; at < from; at++) scores[at] = UNSEEN;
    for (int at = end; at < seen || at % LANES; at++) scores[at] = UNSEEN;
    Vector peaks = load(scores), sums = {0};
    for (int at = LANES; at < seen; at += LANES) peaks = larger(peaks, load(scores + at));
    float peak = largest_of(peaks);
    for (int at = 0; at < seen; at += LANES) {
        Vector share = exponential(load(scores + at) - peak);
        save(scores + at, share);
        sums += share;
    }
    return sum_of(sums);
}

/* Attention of one head of `queries` neighbouring tokens, the first of them token t, to keys [from, end), of which the
   first token sees those before `first_end` and the last one those from `last_from` on. */
static inline __attribute__((always_inline)) void attend_few(const Model *model, float *query, int t, int queries,
                                                             int from, int first_end, int last_from, int end, int size,
                                                             int stride, const Scratch *scratch) {
    int d = model->d_model, apart = 3 * d, seen = end - from, width = scores_width(model);
    float *scores = scratch->scores, totals[2];
    for (int at = 0; at < seen;) {
        const float *keys = scratch->keys + from + at;
        int left = seen - at;
        if (left > 4 * LANES) {
            score(query, apart, queries, keys, size, stride, 5, scores + at, width);
            at += 5 * LANES;
        } else if (left > 2 * LANES) {
            score(query, apart, queries, keys, size, stride, 4, scores + at, width);
            at += 4 * LANES;
        } else {
            score(query, apart, queries, keys, size, stride, 2, scores + at, width);
            at += 2 * LANES;
        }
    }
    totals[0] = share_out(scores, 0, first_end - from, seen);
    if (queries > 1) totals[1] = share_out(scores + width, last_from - from, seen, seen);
    Vector mixed[2][MAX_HEAD / LANES] = {{{0}}};
    const float *value = query + 2 * d + (ptrdiff_t)(from - t) * apart;
    for (int at = 0; at < seen; at++, value += apart)
        for (int i = 0; i < size / LANES; i++) {
            Vector part = load(value + i * LANES);
            for (int q = 0; q < queries; q++) mixed[q][i] += part * scores[q * width + at];
        }
    for (int q = 0; q < queries; q++) {
        float factor = 1.0f / totals[q];
        for (int i = 0; i < size / LANES; i++) save(query + q * apart + i * LANES, mixed[q][i] * factor);
    }
}

/* Attention of one head of tokens [first, last) of a row to those of its first `count` that lie within the window; the
   mixes are written over the queries. The keys are rotated. */
static inline __attribute__((always_inline)) void attend(const Model *model, const int32_t *positions, float *qkv,
                                                         int first, int last, int count, int size, int stride,
                                                         const Scratch *scratch) {
    int window = model->window, from = first > window ? first - window : 0;
    for (int t = first, end = first; t < last; t += 2) {
        float *query = qkv + (size_t)t * 3 * model->d_model;
        while (positions[from] < positions[t] - window) from++;
        while (end < count && positions[end] <= positions[t] + window) end++;
        int first_end = end, last_from = from;
        if (t + 1 == last) {
            attend_few(model, query, t, 1, from, end, from, end, size, stride, scratch);
            break;
        }
        while (positions[last_from] < positions[t + 1] - window) last_from++;
        while (end < count && positions[end] <= positions[t + 1] + window) end++;
        attend_few(model, query, t, 2, from, first_end, last_from, end, size, stride, scratch);
    }
}

static void attend_head(const Model *model, const int32_t *positions, float *qkv, int first, int last, int count,
                        int stride, const Scratch *scratch) {
    int size = model->d_model / model->n_heads;
    if (size == 32)
        attend(model, positions, qkv, first, last, count, 32, stride, scratch);
    else
        attend(model, positions, qkv, first, last, count, size, stride, scratch);
}

static void attend_heads(const Model *model, const int32_t *positions, float *qkv, int count,
                         const Scratch *scratch) {
    int size = model->d_model / model->n_heads, stride = count + SPARE;
    for (int head = 0; head < model->n_heads; head++, qkv += size) {
        rotate_queries(model, positions, qkv, count, size);
        rotate_keys(model, positions, qkv, count, size, stride, scratch->keys);
        attend_head(model, positions, qkv, 0, count, count, stride, scratch);
    }
}

/* Log-sum-exp of each attack's odds over a row's tokens, and the tokens' evidence of the strongest. */
static void conclude(const Model *model, const float *odds, int count, float *logits, float *evidence) {
    int width = model->odds.outputs, top = 0;
    float best = -INFINITY;
    logits[0] = 0.0f;
    for (int first = 0; first < model->classes; first += LANES) {
        Vector peak = load(odds + first), sum = {0};
        for (int t = 1; t < count; t++) peak = larger(peak, load(odds + (size_t)t * width + first));
        for (int t = 0; t < count; t++) sum += exponential(load(odds + (size_t)t * width + first) - peak);
        for (int c = first; c < first + LANES && c < model->classes; c++) {
            logits[c + 1] = peak[c - first] + logf(sum[c - first]);
            if (logits[c + 1] + model->aside[c] > best) best = logits[c + 1] + model->aside[c], top = c;
        }
    }
    for (int t = 0; t < count; t++) {
        float value = odds[(size_t)t * width + top];
        evidence[t] = value > 20.0f ? value : log1pf(expf(value));
    }
}

/* Queries, keys and values of tokens. */
static void project(const Model *model, const Layer *layer, const float *x, int count, float *qkv, Scratch *scratch) {
    normalise(x, count, model->d_model, layer->norm1_weight, layer->norm1_bias, scratch->wide);
    quantise(scratch->wide, count, model->d_model, scratch->fixed, scratch->scales);
    multiply(&layer->qkv, scratch->fixed, scratch->scales, count, NULL, NULL, qkv, 3 * model->d_model, SET);
}

/* What a layer does behind attention, whose mixes are in scratch->wide. */
static void conclude_layer(const Model *model, const Layer *layer, int count, float *x, Scratch *scratch) {
    int d = model->d_model;
    float *wide = scratch->wide, *scales = scratch->scales;
    quantise(wide, count, d, scratch->fixed, scales);
    multiply(&layer->out, scratch->fixed, scales, count, NULL, NULL, x, d, ADD);
    normalise(x, count, d, layer->norm2_weight, layer->norm2_bias, wide);
    quantise(wide, count, d, scratch->fixed, scales);
    multiply(&layer->up, scratch->fixed, scales, count, NULL, NULL, wide, model->d_ff, SET_POSITIVE);
    quantise(wide, count, model->d_ff, scratch->fixed, scales);
    multiply(&layer->down, scratch->fixed, scales, count, scratch->pairs, scratch->counts, x, d, ADD);
}

/* Takes the mixes of tokens from where their queries were. */
static void gather_mixes(const Model *model, const float *qkv, int count, float *mixes) {
    int d = model->d_model;
    for (int t = 0; t < count; t++) memcpy(mixes + (size_t)t * d, qkv + (size_t)t * 3 * d, d * sizeof(float));
}

/* Odds of each attack for each token. Overwrites scratch->qkv. */
static void weigh(const Model *model, const float *x, int count, float *odds, Scratch *scratch) {
    normalise(x, count, model->d_model, model->norm_weight, model->norm_bias, scratch->qkv);
    quantise(scratch->qkv, count, model->d_model, scratch->fixed, scratch->scales);
    multiply(&model->odds, scratch->fixed, scratch->scales, count, NULL, NULL, odds, model->odds.outputs, SET);
}

/* What EarlyExit tells of each token, its norm being taken into the sum. */
static void guess(const Model *model, const float *x, int count, float *guesses) {
    int d = model->d_model;
    for (int t = 0; t < count; t++, x += d) {
        Vector sum = {0}, squares = {0}, told = {0};
        for (int i = 0; i < d; i += LANES) sum += load(x + i);
        float mean = sum_of(sum) / (float)d;
        for (int i = 0; i < d; i += LANES) {
            Vector off = load(x + i) - mean;
            squares += off * off;
            told += off * load(model->exit + i);
        }
        guesses[t] = sum_of(told) / sqrtf(sum_of(squares) / (float)d + 1e-5f) + model->exit_bias;
    }
}

/* Odds of a token that is not read to the end: together they are what was guessed. */
static void fill_odds(const Model *model, float guessed, float *odds) {
    for (int c = 0; c < model->odds.outputs; c++) odds[c] = guessed;
}

/* Some outputs of a matrix. */
static inline Linear part_of(const Linear *whole, int first, int outputs) {
    const int16_t *weights = whole->weights + (size_t)first * whole->inputs;
    return (Linear){weights, whole->scale + first, whole->bias + first, whole->inputs, outputs};
}

/* Room for the last layer: queries, keys and values of a text's tokens, keys transposed as well, and its odds. */
typedef struct {
    float *qkv;  /* [tokens][3 d_model] */
    float *keys; /* [d_model][stride] */
    int stride;
    float *odds; /* [tokens][odds.outputs] */
} Last;

/* Keys and values of tokens [from, to). */
static void take_keys(const Model *model, const int32_t *positions, const float *x, int from, int to, int room,
                      const Last *last, Scratch *scratch) {
    int d = model->d_model, size = d / model->n_heads;
    const Layer *layer = model->layers + model->n_layers - 1;
    Linear both = part_of(&layer->qkv, d, 2 * d);
    for (int count; from < to; from += count) {
        count = to - from < room ? to - from : room;
        float *qkv = last->qkv + (size_t)from * 3 * d;
        normalise(x + (size_t)from * d, count, d, layer->norm1_weight, layer->norm1_bias, scratch->wide);
        quantise(scratch->wide, count, d, scratch->fixed, scratch->scales);
        multiply(&both, scratch->fixed, scratch->scales, count, NULL, NULL, qkv + d, 3 * d, SET);
        for (int head = 0; head < model->n_heads; head++)
            rotate_keys(model, positions + from, qkv + head * size, count, size, last->stride,
                        last->keys + (size_t)head * size * last->stride + from);
    }
}

/* Attention of the last layer for tokens [first, end) of the `count` of a text, whose keys and values are there. */
static void ask(const Model *model, const int32_t *positions, const float *x, int first, int end, int count,
                const Last *last, Scratch *scratch) {
    int d = model->d_model, size = d / model->n_heads, asked = end - first;
    const Layer *layer = model->layers + model->n_layers - 1;
    Linear queries = part_of(&layer->qkv, 0, d);
    float *qkv = last->qkv + (size_t)first * 3 * d;
    normalise(x + (size_t)first * d, asked, d, layer->norm1_weight, layer->norm1_bias, scratch->wide);
    quantise(scratch->wide, asked, d, scratch->fixed, scratch->scales);
    multiply(&queries, scratch->fixed, scratch->scales, asked, NULL, NULL, qkv, 3 * d, SET);
    for (int head = 0; head < model->n_heads; head++) {
        Scratch of_head = *scratch;
        of_head.keys = last->keys + (size_t)head * size * last->stride;
        rotate_queries(model, positions + first, qkv + head * size, asked, size);
        attend_head(model, positions, last->qkv + head * size, first, end, count, last->stride, &of_head);
    }
}

/* Finishes the last layer for the tokens that were gathered. */
static void finish_hot(const Model *model, const Last *last, Scratch *scratch) {
    int d = model->d_model, width = model->odds.outputs, count = scratch->gathered;
    memcpy(scratch->wide, scratch->mixes, (size_t)count * d * sizeof(float));
    conclude_layer(model, model->layers + model->n_layers - 1, count, scratch->last, scratch);
    weigh(model, scratch->last, count, scratch->wide, scratch);
    for (int at = 0; at < count; at++)
        memcpy(last->odds + (size_t)scratch->hot[at] * width, scratch->wide + (size_t)at * width, width * sizeof(float));
    scratch->gathered = 0;
}

/* From what all layers but the last made of the `count` tokens of a text from token `base` on, and the guesses -> odds,
   some of them once finish_hot() was called, which overwrites the scratch: where `last` lies in it, all that the texts
   read so may gather has room at once. `room`: tokens of the scratch. */
static void read_hot(const Model *model, const int32_t *positions, const float *x, const float *guesses, int count,
                     int base, int room, const Last *last, Scratch *scratch) {
    int d = model->d_model, width = model->odds.outputs, window = model->window, from = 0, to = 0;
    for (int t = 0; t < count; t++) {
        if (guesses[t] < model->exit_below) {
            fill_odds(model, guesses[t] - model->exit_share, last->odds + (size_t)(base + t) * width);
            continue;
        }
        if (t - window > to) {
            take_keys(model, positions, x, from, to, room, last, scratch);
            from = t - window;
        }
        to = count - t > window ? t + window + 1 : count;
    }
    take_keys(model, positions, x, from, to, room, last, scratch);
    for (int t = 0, end; t < count; t = end) {
        end = t + 1;
        if (guesses[t] < model->exit_below) continue;
        while (end < count && end - t < room && guesses[end] >= model->exit_below) end++;
        if (scratch->gathered + end - t > room) finish_hot(model, last, scratch);
        ask(model, positions, x, t, end, count, last, scratch);
        gather_mixes(model, last->qkv + (size_t)t * 3 * d, end - t, scratch->mixes + (size_t)scratch->gathered * d);
        memcpy(scratch->last + (size_t)scratch->gathered * d, x + (size_t)t * d, (size_t)(end - t) * d * sizeof(float));
        for (int at = t; at < end; at++) scratch->hot[scratch->gathered++] = base + at;
    }
}

/* How many layers read all tokens. */
static inline int full_layers(const Model *model) { return model->n_layers - (model->exit != NULL); }

/* Runs `rows` rows of text tokens, `lengths` of each, whose embeddings are in scratch->x, through the layers; their odds
   go to scratch->odds. */
static void encode(const Model *model, const int32_t *lengths, int rows, int tokens, int room, Scratch *scratch) {
    for (int index = 0; index < full_layers(model); index++) {
        const Layer *layer = model->layers + index;
        project(model, layer, scratch->x, tokens, scratch->qkv, scratch);
        for (int row = 0, at = 0; row < rows; at += lengths[row++])
            attend_heads(model, scratch->positions + at, scratch->qkv + (size_t)at * 3 * model->d_model, lengths[row],
                         scratch);
        gather_mixes(model, scratch->qkv, tokens, scratch->wide);
        conclude_layer(model, layer, tokens, scratch->x, scratch);
    }
    if (!model->exit) {
        weigh(model, scratch->x, tokens, scratch->odds, scratch);
        return;
    }
    guess(model, scratch->x, tokens, scratch->guesses);
    Last last = {scratch->qkv, scratch->keys, room + SPARE, scratch->odds};
    for (int row = 0, at = 0; row < rows; at += lengths[row++])
        read_hot(model, scratch->positions + at, scratch->x + (size_t)at * model->d_model, scratch->guesses + at,
                 lengths[row], at, room, &last, scratch);
    if (scratch->gathered) finish_hot(model, &last, scratch);
}

/* Adds the embedding of a word of the context. */
static void add_context(const Model *model, int64_t token, float *context) {
    for (int i = 0; i < model->d_model; i += LANES)
        save(context + i, load(context + i) + load(model->tokens + token * model->d_model + i));
}

/* A token of text at its place, with the context of its row. */
static void embed_token(const Model *model, int64_t token, const float *context, float *to) {
    const float *from = model->tokens + token * model->d_model;
    for (int i = 0; i < model->d_model; i += LANES) save(to + i, load(from + i) + load(context + i));
}

/* Embeds the text of one padded row behind the `tokens` that stand there; returns how many tokens it has, -1 for an id
   outside the vocabulary. */
static int embed(const Model *model, const int64_t *ids, int width, int tokens, Scratch *scratch) {
    int d = model->d_model, count = 0;
    memset(scratch->context, 0, d * sizeof *scratch->context);
    for (int t = 0; t < width; t++) {
        if (ids[t] < 0 || ids[t] >= model->vocab) return -1;
        if (ids[t] > model->context_tokens)
            scratch->positions[tokens + count++] = t;
        else if (ids[t] > 0)
            add_context(model, ids[t], scratch->context);
    }
    for (int at = tokens; at < tokens + count; at++)
        embed_token(model, ids[scratch->positions[at]], scratch->context, scratch->x + (size_t)at * d);
    return count;
}

/* Texts of one row, as conclude() leaves them -> evidence of its line. */
static void spread(const float *found, const int32_t *positions, int count, float *line) {
    for (int at = 0; at < count; at++) line[positions[at]] = found[at];
}

/* The checksum of the sources that this was compiled from, so that no caller takes another library for its own. */
uint32_t vedette_sources(void) { return SOURCES; }

/* The registers that the system saves, as XCR0 tells them; 0 where the processor has not what all of this needs. */
static unsigned registers_saved(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA) || !(c & bit_OSXSAVE) || !(c & bit_AVX)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Whether the processor and the system have what this was compiled for. */
int vedette_supported(void) {
    unsigned a, b, c, d;
    if ((registers_saved() & 6) != 6) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

/* Has matrices multiplied by AVX-512 VNNI or not, where the processor and the system have it. Returns whether they are. */
int vedette_wide(int wanted) {
    unsigned a, b, c, d, needed = bit_AVX512F | bit_AVX512BW | bit_AVX512VL;
    is_wide = wanted && (registers_saved() & 0xE6) == 0xE6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
              (b & needed) == needed && (c & bit_AVX512VNNI);
    return is_wide;
}

__attribute__((constructor)) static void look_at_processor(void) { vedette_wide(1); }

/* Memory for runs of `room` tokens. Returns 0 where there is none; else scratch->x is to be freed. */
static int take_scratch(const Model *model, int room, Scratch *scratch) {
    int d = model->d_model;
    int wide = model->d_ff > d ? model->d_ff : d, odds = model->odds.outputs;
    if (wide < odds) wide = odds;
    size_t floats = (size_t)room * (6 * d + wide + odds + 2) + (size_t)d * (room + SPARE) + 2 * scores_width(model) + d;
    size_t whole_numbers = (size_t)room * (3 * sizeof(int32_t) + (wide + model->d_ff / 2) * sizeof(int16_t));
    scratch->x = malloc(floats * sizeof(float) + whole_numbers);
    if (!scratch->x) return 0;
    scratch->qkv = scratch->x + (size_t)room * d;
    scratch->wide = scratch->qkv + (size_t)room * 3 * d;
    scratch->keys = scratch->wide + (size_t)room * wide;
    scratch->scores = scratch->keys + (size_t)d * (room + SPARE);
    scratch->scales = scratch->scores + 2 * scores_width(model);
    scratch->context = scratch->scales + room;
    scratch->odds = scratch->context + d;
    scratch->mixes = scratch->odds + (size_t)room * odds;
    scratch->last = scratch->mixes + (size_t)room * d;
    scratch->guesses = scratch->last + (size_t)room * d;
    scratch->positions = (int32_t *)(scratch->guesses + room);
    scratch->counts = scratch->positions + room;
    scratch->hot = scratch->counts + room;
    scratch->gathered = 0;
    scratch->fixed = (int16_t *)(scratch->hot + room);
    scratch->pairs = (uint16_t *)(scratch->fixed + (size_t)room * wide);
    return 1;
}

/* Logits of a row without text. */
static void say_nothing(const Model *model, float *logits) {
    logits[0] = 0.0f;
    for (int c = 1; c <= model->classes; c++) logits[c] = NOTHING;
}

/* ids [rows][width], 0 pads -> logits [rows][1 + classes], evidence [rows][width], 0 beside text. */
int vedette_run(const Model *model, const int64_t *ids, int32_t rows, int32_t width, float *logits, float *evidence) {
    int32_t *lengths = malloc(rows * sizeof *lengths);
    Scratch scratch = {0};
    int failure = READ, room = width > GROUP_TOKENS ? width : GROUP_TOKENS;
    if (!lengths || !take_scratch(model, room, &scratch))
        failure = NO_MEMORY;
    else
        memset(evidence, 0, (size_t)rows * width * sizeof *evidence);
    for (int first = 0, row = 0; first < rows && failure == READ; first = row) {
        int tokens = 0, count;
        for (row = first; row < rows && (row == first || tokens + width <= GROUP_TOKENS); row++, tokens += count) {
            lengths[row] = count = embed(model, ids + (size_t)row * width, width, tokens, &scratch);
            if (count < 0) {
                failure = UNKNOWN_TOKEN;
                break;
            }
        }
        if (failure != READ) break;
        encode(model, lengths + first, row - first, tokens, room, &scratch);
        for (int at = first, token = 0; at < row; token += lengths[at++]) {
            float *line = logits + (size_t)at * (model->classes + 1);
            if (lengths[at]) {
                conclude(model, scratch.odds + (size_t)token * model->odds.outputs, lengths[at], line, scratch.x);
                spread(scratch.x, scratch.positions + token, lengths[at], evidence + (size_t)at * width);
            } else {
                say_nothing(model, line);
            }
        }
    }
    free(scratch.x);
    free(lengths);
    return failure;
}

/* A row: its tokens, and which row of which view it is. */
typedef struct {
    const int32_t *ids;
    int32_t count, view, number;
} Row;

/* Rows that cover the `count` tokens of a text, as HTTPTokenizer.cut has them; returns how many. */
static int cut_rows(const int32_t *ids, int count, int room, int view, Row *rows) {
    int number = 0;
    for (int start = 0; start < count - room; start += room - room / 4, number++)
        rows[number] = (Row){ids + start, room, view, number};
    int start = count > room ? count - room : 0;
    rows[number] = (Row){ids + start, count - start, view, number};
    return number + 1;
}

/* Sum of the words of a view's context. Returns 0 for an id that is none. */
static int embed_context(const Model *model, const View *view, float *context) {
    memset(context, 0, model->d_model * sizeof *context);
    for (int i = 0; i < view->contexts; i++) {
        if (view->context[i] <= 0 || view->context[i] > model->context_tokens) return 0;
        add_context(model, view->context[i], context);
    }
    return 1;
}

static int is_text(const Model *model, int32_t token) { return token > model->context_tokens && token < model->vocab; }

/* Embeds a row behind the `tokens` that stand there. Returns 0 for an id outside the vocabulary. */
static int embed_row(const Model *model, const Row *row, const View *view, int tokens, Scratch *scratch) {
    if (!embed_context(model, view, scratch->context)) return 0;
    for (int at = 0; at < row->count; at++) {
        if (!is_text(model, row->ids[at])) return 0;
        scratch->positions[tokens + at] = view->contexts + at;
        embed_token(model, row->ids[at], scratch->context, scratch->x + (size_t)(tokens + at) * model->d_model);
    }
    return 1;
}

/* Logits of a row -> its score and its strongest class, as AnomalyScorer.score_rows has them. */
static double score_of(const Model *model, const Scoring *scoring, const float *logits, int32_t *strongest) {
    double peak = -INFINITY, sum = 0.0;
    for (int c = 0; c < model->classes; c++)
        if (model->aside[c] == 0.0f && logits[c + 1] > peak) peak = logits[c + 1], *strongest = c + 1;
    for (int c = 0; c < model->classes; c++)
        if (model->aside[c] == 0.0f) sum += exp((double)logits[c + 1] - peak);
    double margin = peak + log(sum) - (double)logits[0];
    double z = (margin - scoring->centre) / scoring->scale;
    if (!isfinite(margin)) return NAN;
    return 1.0 / (1.0 + exp(z > 30.0 ? -30.0 : z < -30.0 ? 30.0 : -z));
}

/* Takes in the odds of a row's tokens. Returns 0 where memory is short. */
static int take_row(const Model *model, const Scoring *scoring, const Row *row, const float *odds, float *logits,
                    float *evidence, Answer *answer) {
    int32_t strongest = 0;
    if (row->count)
        conclude(model, odds, row->count, logits, evidence);
    else
        say_nothing(model, logits);
    double score = score_of(model, scoring, logits, &strongest);
    if (row->number && !(score > answer->score) && !isnan(score)) return 1;
    answer->score = score, answer->class_index = strongest, answer->row = row->number, answer->tokens = row->count;
    if (!(score >= scoring->threshold)) return 1;
    if (!answer->evidence) answer->evidence = malloc((size_t)model->max_tokens * sizeof(float));
    if (answer->evidence) memcpy(answer->evidence, evidence, (size_t)row->count * sizeof(float));
    return answer->evidence != NULL;
}

/* How many of the rows, all of one view, come first. */
static int rows_of_view(const Row *rows, int count) {
    int parts = 1;
    while (parts < count && rows[parts].view == rows->view) parts++;
    return parts;
}

static int tokens_of_rows(const Row *rows, int parts) {
    return (int)(rows[parts - 1].ids - rows->ids) + rows[parts - 1].count;
}

/* Tokens that a text moves on at each step of run_long(), where there is room for `room` at once. */
static int step_of(const Model *model, int room) { return room - model->n_layers * model->window; }

static int may_run_at_once(const Model *model, const Row *rows, int parts, int room) {
    return tokens_of_rows(rows, parts) <= model->positions && step_of(model, room) >= model->n_layers * model->window &&
           model->n_layers <= MOST_LAYERS;
}

/* Tokens of a text of several rows, each computed once, with its neighbours beyond the ends of the row: layer by layer
   as far as those that it sees are there, and the last one, where there is an early exit, at the end. -> odds [tokens][odds.outputs], in memory that the caller has to free; NULL
   where that is short. `context` of the scratch is the text's. */
static float *weigh_long(const Model *model, const int32_t *ids, int tokens, int room, Scratch *scratch) {
    int d = model->d_model, size = d / model->n_heads, width = model->odds.outputs;
    int stride = tokens + SPARE + (((tokens + SPARE) & 511) < LANES ? LANES : 0); /* rows of keys in other cache sets */
    size_t qkv_size = (size_t)tokens * 3 * d, keys_size = (size_t)d * stride;
    int n_layers = full_layers(model);
    size_t floats = (size_t)tokens * (width + d + 1) + n_layers * (qkv_size + keys_size);
    float *odds = malloc(floats * sizeof(float) + (size_t)tokens * sizeof(int32_t));
    if (!odds) return NULL;
    float *x = odds + (size_t)tokens * width, *guesses = x + (size_t)tokens * d, *layers = guesses + tokens;
    int32_t *positions = (int32_t *)(odds + floats);
    int projected[MOST_LAYERS] = {0}, concluded[MOST_LAYERS] = {0}, weighed = 0;
    for (int t = 0; t < tokens; t++) positions[t] = t;
    for (int embedded = 0; embedded < tokens;) {
        int ready = embedded + step_of(model, room) < tokens ? embedded + step_of(model, room) : tokens;
        for (int t = embedded; t < ready; t++) embed_token(model, ids[t], scratch->context, x + (size_t)t * d);
        embedded = ready;
        for (int index = 0; index < n_layers; index++) {
            const Layer *layer = model->layers + index;
            float *qkv = layers + index * (qkv_size + keys_size), *keys = qkv + qkv_size;
            int from = projected[index], count = ready - from, seen = ready;
            float *new = qkv + (size_t)from * 3 * d;
            project(model, layer, x + (size_t)from * d, count, new, scratch);
            for (int head = 0; head < model->n_heads; head++) {
                rotate_queries(model, positions + from, new + head * size, count, size);
                rotate_keys(model, positions + from, new + head * size, count, size, stride,
                            keys + (size_t)head * size * stride + from);
            }
            projected[index] = ready;
            ready = ready == tokens ? tokens : ready - model->window;
            from = concluded[index], count = ready - from;
            for (int head = 0; head < model->n_heads; head++) {
                Scratch of_head = *scratch;
                of_head.keys = keys + (size_t)head * size * stride;
                attend_head(model, positions, qkv + head * size, from, ready, seen, stride, &of_head);
            }
            gather_mixes(model, qkv + (size_t)from * 3 * d, count, scratch->wide);
            conclude_layer(model, layer, count, x + (size_t)from * d, scratch);
            concluded[index] = ready;
        }
        if (model->exit)
            guess(model, x + (size_t)weighed * d, ready - weighed, guesses + weighed);
        else
            weigh(model, x + (size_t)weighed * d, ready - weighed, odds + (size_t)weighed * width, scratch);
        weighed = ready;
    }
    if (model->exit) {
        Last last = {layers, layers + qkv_size, stride, odds}; /* what the layer before needs no more */
        read_hot(model, positions, x, guesses, tokens, 0, room, &last, scratch);
        if (scratch->gathered) finish_hot(model, &last, scratch);
    }
    return odds;
}

/* Runs the rows of one view. */
static int run_long(const Model *model, const Scoring *scoring, const View *view, const Row *rows, int parts, int room,
                    float *logits, Scratch *scratch, Answer *answer) {
    int tokens = tokens_of_rows(rows, parts), failure = READ;
    if (!embed_context(model, view, scratch->context)) return UNKNOWN_TOKEN;
    for (int t = 0; t < tokens; t++) if (!is_text(model, rows->ids[t])) return UNKNOWN_TOKEN;
    float *odds = weigh_long(model, rows->ids, tokens, room, scratch);
    if (!odds) return NO_MEMORY;
    for (int row = 0; row < parts && failure == READ; row++) {
        const float *its_odds = odds + (rows[row].ids - rows->ids) * model->odds.outputs;
        if (!take_row(model, scoring, rows + row, its_odds, logits, scratch->x, answer)) failure = NO_MEMORY;
    }
    free(odds);
    return failure;
}

/* Runs rows one after the other, those that are short together. */
static int run_rows(const Model *model, const Scoring *scoring, const View *views, const Row *rows, int count,
                    Answer *answers) {
    int longest = GROUP_TOKENS > model->max_tokens ? GROUP_TOKENS : model->max_tokens, failure = READ;
    int32_t lengths[GROUP_TOKENS + 1];
    Scratch scratch = {0};
    float *logits = malloc((size_t)(model->classes + 1) * sizeof *logits);
    if (!logits || !take_scratch(model, longest, &scratch)) failure = NO_MEMORY;
    for (int first = 0, row = 0; first < count && failure == READ; first = row) {
        int tokens = 0, parts = rows_of_view(rows + first, count - first);
        if (parts > 1 && may_run_at_once(model, rows + first, parts, longest)) {
            row = first + parts;
            failure = run_long(model, scoring, views + rows[first].view, rows + first, parts, longest, logits, &scratch,
                               answers + rows[first].view);
            continue;
        }
        for (row = first; row < count && row - first < GROUP_TOKENS; tokens += rows[row++].count) {
            if (row > first && tokens + rows[row].count > GROUP_TOKENS) break;
            lengths[row - first] = rows[row].count;
            if (!embed_row(model, rows + row, views + rows[row].view, tokens, &scratch)) failure = UNKNOWN_TOKEN;
        }
        if (failure != READ) break;
        encode(model, lengths, row - first, tokens, longest, &scratch);
        const float *odds = scratch.odds;
        for (int at = first; at < row && failure == READ; odds += (size_t)rows[at++].count * model->odds.outputs)
            if (!take_row(model, scoring, rows + at, odds, logits, scratch.x, answers + rows[at].view))
                failure = NO_MEMORY;
    }
    free(scratch.x);
    free(logits);
    return failure;
}

/* Text views -> the answer of the row of each that scores highest; what HTTPTokenizer.encode, vedette_run and
   AnomalyScorer.score_rows do one after the other, but that the tokens at the ends of a text's rows see their neighbours
   in the next. Evidence that was taken is the caller's to free, whatever comes. */
int vedette_read(const Model *model, const Vocabulary *vocabulary, const Scoring *scoring, const View *views,
                 int32_t count, Answer *answers) {
    size_t bytes = 0, most = 2 * (size_t)count;
    for (int i = 0; i < count; i++) {
        answers[i] = (Answer){0.0, -1, 0, 0, NULL};
        int room = model->max_tokens - views[i].contexts;
        if (room < 4) return UNKNOWN_TOKEN;
        if (views[i].size <= 0) continue;
        bytes += (size_t)views[i].size;
        most += (size_t)views[i].size / (size_t)(room - room / 4);
    }
    int32_t *ids = malloc((bytes + 1) * sizeof *ids), *at = ids;
    Row *rows = malloc((most + 1) * sizeof *rows);
    int number = 0, failure = ids && rows ? READ : NO_MEMORY;
    for (int i = 0; i < count && failure == READ; i++) {
        int32_t tokens = -1;
        if (views[i].size >= 0) vedette_encode(vocabulary, views[i].bytes, &views[i].size, 1, at, &tokens);
        if (tokens < 0) continue;
        number += cut_rows(at, tokens, model->max_tokens - views[i].contexts, i, rows + number);
        at += tokens;
    }
    if (failure == READ) failure = run_rows(model, scoring, views, rows, number, answers);
    free(rows);
    free(ids);
    return failure;
}
