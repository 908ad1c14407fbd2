/* The forward pass of AnomalyDetector (model/anomaly_detector.py) on one thread, for the small batches of live traffic.

   A general runtime pays for every operator of its graph, most of all where a run of 15 to 20 tokens finds the caches
   full of other work; this pays once for a run. Only tokens of text are computed: words of the context add their
   embeddings to every token and are no more than that, and padding is skipped.

   Matrices are multiplied in fixed point: activations of 12 bits with a scale for each token, weights of as many bits
   as a sum of so many products leaves room for in 32 (13 and more), with a scale for each output. Attention and norms
   are computed in single precision. A row's result does not depend on its neighbours.

   Needs AVX2 and FMA, which vedette_supported() tells of; runtime_native.py is the caller and lays the weights out. */

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 16,         /* outputs of a matrix that are computed together; rows of weights are padded to it */
    LANES = 8,          /* numbers of a vector */
    SPARE = 5 * LANES,  /* keys that may be read, and scores written, behind the last */
    GROUP_TOKENS = 64,  /* rows of a batch run together up to so many tokens, which the caches hold */
    MAX_HEAD = 64,
    ACTIVATION_MAX = 2047,
    NOTHING = -10000 /* logits of a row without text */
};

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

typedef struct {
    const float *tokens; /* [vocab][d_model] */
    const Layer *layers;
    const float *norm_weight, *norm_bias; /* [d_model] */
    Linear odds;
    const float *cosines, *sines; /* [max_tokens][head size / 2] */
    const float *aside;           /* [odds.outputs], added before the strongest attack is chosen */
    int32_t d_model, n_heads, d_ff, n_layers, classes; /* classes: without benign */
    int32_t vocab, context_tokens, window, max_tokens;
} Model;

typedef struct {
    float *x;       /* [tokens][d_model] residual stream */
    float *qkv;     /* [tokens][3 d_model] */
    float *wide;    /* [tokens][max(d_ff, odds.outputs)] */
    float *keys;    /* [head size][tokens + SPARE] one head's keys, transposed */
    float *scores;  /* [2 window + 1 + SPARE] */
    float *scales;  /* [tokens] */
    int16_t *fixed; /* [tokens][max(d_model, d_ff)] */
    int32_t *positions; /* [tokens] place of a token in its row */
} Scratch;

/* Eight numbers at once; GCC and Clang turn them into whatever the processor has. Loaded from any address. */
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef int16_t Halves __attribute__((vector_size(2 * LANES)));

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

static inline Vector rounded(Vector x) { /* away from zero where it is half, as int32 wants it */
    Integers sign = (Integers)x & INT32_MIN;
    Vector half = (Vector)(sign | (Integers)((Vector){0} + 0.5f));
    return x + half;
}

/* e^x for x <= 88, 0 below -87; within 2 units in the last place (Cephes' polynomial). */
static inline Vector exponential(Vector x) {
    Integers is_normal = x > -87.0f;
    Integers n = __builtin_convertvector(rounded(x * 1.44269504f), Integers);
    Vector whole = __builtin_convertvector(n, Vector);
    Vector r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Vector)((Integers)(p * (Vector)((n + 127) << 23)) & is_normal);
}

/* x [count][width] -> fixed, and for each row the factor that takes a product back. */
static void quantise(const float *x, int count, int width, int16_t *fixed, float *scales) {
    for (int row = 0; row < count; row++, x += width, fixed += width) {
        Vector most = {0}, least = {0};
        for (int i = 0; i < width; i += LANES) {
            most = larger(most, load(x + i));
            least = larger(least, -load(x + i));
        }
        float largest = largest_of(larger(most, least)) + 1e-20f;
        float scale = ACTIVATION_MAX / largest;
        scales[row] = largest / ACTIVATION_MAX;
        for (int i = 0; i < width; i += LANES) {
            Integers whole = __builtin_convertvector(rounded(load(x + i) * scale), Integers);
            Halves half = __builtin_convertvector(whole, Halves);
            memcpy(fixed + i, &half, sizeof half);
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

static inline __attribute__((always_inline)) void multiply_rows(const Linear *linear, int block, const int16_t *fixed,
                                                                const float *factors, int rows, float *to,
                                                                enum Store how) {
    const int16_t *weights = linear->weights + (size_t)block * linear->inputs;
    Integers low[4], high[4];
    for (int r = 0; r < rows; r++) low[r] = high[r] = (Integers){0};
    for (int k = 0; k < linear->inputs; k += 2, weights += 2 * BLOCK)
        for (int r = 0; r < rows; r++) {
            const int16_t *pair = fixed + r * linear->inputs + k;
            low[r] += products(pair, weights);
            high[r] += products(pair, weights + BLOCK);
        }
    for (int r = 0; r < rows; r++)
        store(low[r], high[r], factors[r], linear->scale + block, linear->bias + block,
              to + (size_t)r * linear->outputs + block, how);
}

/* fixed [count][inputs] with scales [count] -> to [count][outputs]. */
static inline __attribute__((always_inline)) void multiply(const Linear *linear, const int16_t *fixed,
                                                           const float *scales, int count, float *to, enum Store how) {
    for (int block = 0; block < linear->outputs; block += BLOCK) {
        for (int row = 0, rows; row < count; row += rows) {
            const int16_t *from = fixed + (size_t)row * linear->inputs;
            float *line = to + (size_t)row * linear->outputs;
            const float *factors = scales + row;
            rows = count - row >= 4 ? 4 : count - row >= 2 ? 2 : 1;
            if (rows == 4)
                multiply_rows(linear, block, from, factors, 4, line, how);
            else if (rows == 2)
                multiply_rows(linear, block, from, factors, 2, line, how);
            else
                multiply_rows(linear, block, from, factors, 1, line, how);
        }
    }
}

/* query . key for `blocks` x LANES keys, which lie transposed. */
static inline __attribute__((always_inline)) void score(const float *query, const float *keys, int size, int stride,
                                                        int blocks, float *scores) {
    Vector sums[5];
    for (int b = 0; b < blocks; b++) sums[b] = (Vector){0};
    for (int i = 0; i < size; i++, keys += stride)
        for (int b = 0; b < blocks; b++) sums[b] += load(keys + b * LANES) * query[i];
    for (int b = 0; b < blocks; b++) save(scores + b * LANES, sums[b]);
}

/* Rotates queries and keys of one head by their positions; the keys go to `keys`, transposed. */
static void rotate(const Model *model, const int32_t *positions, float *qkv, int count, int size, int stride,
                   float *keys) {
    int d = model->d_model, half = size / 2;
    float factor = 1.0f / sqrtf((float)size);
    for (int t = 0; t < count; t++, qkv += 3 * d) {
        float *query = qkv, *key = qkv + d;
        const float *cosines = model->cosines + positions[t] * half, *sines = model->sines + positions[t] * half;
        for (int i = 0; i < half; i += LANES) {
            Vector cosine = load(cosines + i), sine = load(sines + i);
            Vector a = load(query + i) * factor, b = load(query + half + i) * factor;
            save(query + i, a * cosine - b * sine);
            save(query + half + i, b * cosine + a * sine);
            a = load(key + i), b = load(key + half + i);
            Vector first = a * cosine - b * sine, second = b * cosine + a * sine;
            for (int lane = 0; lane < LANES; lane++) {
                keys[(i + lane) * stride + t] = first[lane];
                keys[(i + half + lane) * stride + t] = second[lane];
            }
        }
    }
    for (int i = 0; i < size; i++) memset(keys + i * stride + count, 0, (stride - count) * sizeof *keys);
}

/* Attention of one head over one row of `count` tokens, within the window; the mix is written over the queries. */
static inline __attribute__((always_inline)) void attend(const Model *model, const int32_t *positions, float *qkv,
                                                         int count, int size, Scratch *scratch) {
    int d = model->d_model, stride = count + SPARE;
    float *keys = scratch->keys, *scores = scratch->scores;
    rotate(model, positions, qkv, count, size, stride, keys);
    for (int t = 0, from = 0, end = 0; t < count; t++) {
        float *query = qkv + (size_t)t * 3 * d;
        while (positions[from] < positions[t] - model->window) from++;
        while (end < count && positions[end] <= positions[t] + model->window) end++;
        int seen = end - from;
        for (int at = 0; at < seen;) {
            int left = seen - at;
            if (left > 4 * LANES) {
                score(query, keys + from + at, size, stride, 5, scores + at);
                at += 5 * LANES;
            } else if (left > 2 * LANES) {
                score(query, keys + from + at, size, stride, 4, scores + at);
                at += 4 * LANES;
            } else {
                score(query, keys + from + at, size, stride, 2, scores + at);
                at += 2 * LANES;
            }
        }
        for (int at = seen; at % LANES; at++) scores[at] = -1e30f;
        Vector peaks = load(scores), sums = {0};
        for (int at = LANES; at < seen; at += LANES) peaks = larger(peaks, load(scores + at));
        float peak = largest_of(peaks);
        for (int at = 0; at < seen; at += LANES) {
            Vector share = exponential(load(scores + at) - peak);
            save(scores + at, share);
            sums += share;
        }
        Vector even[MAX_HEAD / LANES] = {{0}}, odd[MAX_HEAD / LANES] = {{0}};
        const float *value = query + 2 * d + (ptrdiff_t)(from - t) * 3 * d;
        int at = 0;
        for (; at + 1 < seen; at += 2, value += 6 * d)
            for (int i = 0; i < size / LANES; i++) {
                even[i] += load(value + i * LANES) * scores[at];
                odd[i] += load(value + 3 * d + i * LANES) * scores[at + 1];
            }
        if (at < seen)
            for (int i = 0; i < size / LANES; i++) even[i] += load(value + i * LANES) * scores[at];
        float factor = 1.0f / sum_of(sums);
        for (int i = 0; i < size / LANES; i++) save(query + i * LANES, (even[i] + odd[i]) * factor);
    }
}

static void attend_heads(const Model *model, const int32_t *positions, float *qkv, int count, Scratch *scratch) {
    int size = model->d_model / model->n_heads;
    for (int head = 0; head < model->n_heads; head++, qkv += size) {
        if (size == 32)
            attend(model, positions, qkv, count, 32, scratch);
        else
            attend(model, positions, qkv, count, size, scratch);
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

/* Runs `rows` rows of text tokens, `lengths` of each, whose embeddings are in scratch->x, through the layers. */
static void encode(const Model *model, const int32_t *lengths, int rows, int tokens, Scratch *scratch) {
    int d = model->d_model;
    for (int index = 0; index < model->n_layers; index++) {
        const Layer *layer = model->layers + index;
        normalise(scratch->x, tokens, d, layer->norm1_weight, layer->norm1_bias, scratch->wide);
        quantise(scratch->wide, tokens, d, scratch->fixed, scratch->scales);
        multiply(&layer->qkv, scratch->fixed, scratch->scales, tokens, scratch->qkv, SET);
        for (int row = 0, at = 0; row < rows; at += lengths[row++])
            attend_heads(model, scratch->positions + at, scratch->qkv + (size_t)at * 3 * d, lengths[row], scratch);
        for (int t = 0; t < tokens; t++)
            memcpy(scratch->wide + (size_t)t * d, scratch->qkv + (size_t)t * 3 * d, d * sizeof(float));
        quantise(scratch->wide, tokens, d, scratch->fixed, scratch->scales);
        multiply(&layer->out, scratch->fixed, scratch->scales, tokens, scratch->x, ADD);
        normalise(scratch->x, tokens, d, layer->norm2_weight, layer->norm2_bias, scratch->wide);
        quantise(scratch->wide, tokens, d, scratch->fixed, scratch->scales);
        multiply(&layer->up, scratch->fixed, scratch->scales, tokens, scratch->wide, SET_POSITIVE);
        quantise(scratch->wide, tokens, model->d_ff, scratch->fixed, scratch->scales);
        multiply(&layer->down, scratch->fixed, scratch->scales, tokens, scratch->x, ADD);
    }
    normalise(scratch->x, tokens, d, model->norm_weight, model->norm_bias, scratch->qkv);
    quantise(scratch->qkv, tokens, d, scratch->fixed, scratch->scales);
    multiply(&model->odds, scratch->fixed, scratch->scales, tokens, scratch->wide, SET);
}

/* Embeds the text of one row behind the `tokens` that stand there; returns how many tokens it has, -1 for an id outside
   the vocabulary. */
static int embed(const Model *model, const int64_t *ids, int width, int tokens, float *context, Scratch *scratch) {
    int d = model->d_model, count = 0;
    memset(context, 0, d * sizeof *context);
    for (int t = 0; t < width; t++) {
        if (ids[t] < 0 || ids[t] >= model->vocab) return -1;
        if (ids[t] > model->context_tokens)
            scratch->positions[tokens + count++] = t;
        else if (ids[t] > 0)
            for (int i = 0; i < d; i += LANES)
                save(context + i, load(context + i) + load(model->tokens + ids[t] * d + i));
    }
    for (int at = 0; at < count; at++) {
        const float *token = model->tokens + ids[scratch->positions[tokens + at]] * d;
        float *to = scratch->x + (size_t)(tokens + at) * d;
        for (int i = 0; i < d; i += LANES) save(to + i, load(token + i) + load(context + i));
    }
    return count;
}

/* Texts of one row, as conclude() leaves them -> evidence of its line. */
static void spread(const float *found, const int32_t *positions, int count, float *line) {
    for (int at = 0; at < count; at++) line[positions[at]] = found[at];
}

/* The checksum of the sources that this was compiled from, so that no caller takes another library for its own. */
uint32_t vedette_sources(void) { return SOURCES; }

/* Whether the processor and the system have what this was compiled for. */
int vedette_supported(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA) || !(c & bit_OSXSAVE) || !(c & bit_AVX)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6) return 0; /* the system saves the registers */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

/* ids [rows][width], 0 pads -> logits [rows][1 + classes], evidence [rows][width], 0 beside text.
   Returns 0; 1 where memory is short; 2 for an id outside the vocabulary. */
int vedette_run(const Model *model, const int64_t *ids, int32_t rows, int32_t width, float *logits, float *evidence) {
    int d = model->d_model, size = d / model->n_heads, room = width > GROUP_TOKENS ? width : GROUP_TOKENS;
    int wide = model->d_ff > model->odds.outputs ? model->d_ff : model->odds.outputs;
    if (wide < d) wide = d;
    size_t floats = (size_t)room * (4 * d + wide + 1) + (size_t)size * (room + SPARE) + 2 * model->window + 1 + SPARE + d;
    float *memory = malloc(floats * sizeof(float) + (size_t)room * (wide * sizeof(int16_t) + sizeof(int32_t)));
    int32_t *lengths = malloc(rows * sizeof *lengths);
    Scratch scratch;
    int failure = !memory || !lengths;
    if (!failure) {
        scratch.x = memory;
        scratch.qkv = scratch.x + (size_t)room * d;
        scratch.wide = scratch.qkv + (size_t)room * 3 * d;
        scratch.keys = scratch.wide + (size_t)room * wide;
        scratch.scores = scratch.keys + (size_t)size * (room + SPARE);
        scratch.scales = scratch.scores + 2 * model->window + 1 + SPARE;
        scratch.positions = (int32_t *)(scratch.scales + room + d);
        scratch.fixed = (int16_t *)(scratch.positions + room);
        memset(evidence, 0, (size_t)rows * width * sizeof *evidence);
    }
    for (int first = 0, row = 0; first < rows && !failure; first = row) {
        int tokens = 0, count;
        for (row = first; row < rows && (row == first || tokens + width <= GROUP_TOKENS); row++, tokens += count) {
            lengths[row] = count = embed(model, ids + (size_t)row * width, width, tokens, scratch.scales + room, &scratch);
            if (count < 0) {
                failure = 2;
                break;
            }
        }
        if (failure) break;
        encode(model, lengths + first, row - first, tokens, &scratch);
        for (int at = first, token = 0; at < row; token += lengths[at++]) {
            float *line = logits + (size_t)at * (model->classes + 1);
            line[0] = 0.0f;
            if (lengths[at]) {
                conclude(model, scratch.wide + (size_t)token * model->odds.outputs, lengths[at], line, scratch.x);
                spread(scratch.x, scratch.positions + token, lengths[at], evidence + (size_t)at * width);
            } else {
                for (int c = 1; c <= model->classes; c++) line[c] = NOTHING;
            }
        }
    }
    free(memory);
    free(lengths);
    return failure;
}
