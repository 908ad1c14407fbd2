/* Pieces of requests that came before and need not be read: a set of keyed hashes (SipHash-2-4 of 128 bits; Aumasson
 * and Bernstein 2012, and its reference code for the longer output) with how many values each piece has and the highest
 * score that a model gave them, 0 where they hold nothing to be read.
 *
 * An entry has 24 bytes and no text, and nobody without the key can construct two pieces that are taken for one. Two
 * generations stand in for a list of uses: the young one takes what is new and what is met again;
 * full, it becomes the old one. Used under the interpreter's lock. */

enum { MAX_HASHED = 8192, MAX_VALUES = 0x7FFF };

typedef struct {
    uint64_t first, second; /* the lower 16 bits of `second` are the number of values + 1, so that 0 is an empty slot */
    double score;
} Slot;

typedef struct {
    uint64_t key[2];
    Slot *young, *old;
    size_t slots, used, used_before; /* slots of a generation, a power of 2 */
} Inert;

/* Straight from the system, so that its pages go back there when a model is exchanged, and are not zeroed before. */
static Slot *new_slots(size_t count) {
    void *slots = mmap(NULL, count * sizeof(Slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return slots == MAP_FAILED ? NULL : slots;
}

static void free_memory(Inert *inert) {
    if (inert && inert->young) munmap(inert->young, inert->slots * sizeof(Slot));
    if (inert && inert->old) munmap(inert->old, inert->slots * sizeof(Slot));
    free(inert);
}

#define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define ROUND \
    do { \
        v0 += v1, v1 = ROTATE(v1, 13), v1 ^= v0, v0 = ROTATE(v0, 32); \
        v2 += v3, v3 = ROTATE(v3, 16), v3 ^= v2; \
        v0 += v3, v3 = ROTATE(v3, 21), v3 ^= v0; \
        v2 += v1, v1 = ROTATE(v1, 17), v1 ^= v2, v2 = ROTATE(v2, 32); \
    } while (0)

static void siphash(const uint64_t key[2], const uint8_t *text, size_t n, uint64_t out[2]) {
    uint64_t v0 = key[0] ^ 0x736f6d6570736575ull, v1 = key[1] ^ 0x646f72616e646f6dull ^ 0xee;
    uint64_t v2 = key[0] ^ 0x6c7967656e657261ull, v3 = key[1] ^ 0x7465646279746573ull, m, last = (uint64_t)n << 56;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&m, text + i, 8);
        v3 ^= m;
        ROUND;
        ROUND;
        v0 ^= m;
    }
    for (size_t k = i; k < n; k++) last |= (uint64_t)text[k] << (8 * (k - i));
    v3 ^= last;
    ROUND;
    ROUND;
    v0 ^= last;
    v2 ^= 0xee;
    for (int k = 0; k < 4; k++) ROUND;
    out[0] = v0 ^ v1 ^ v2 ^ v3;
    v1 ^= 0xdd;
    for (int k = 0; k < 4; k++) ROUND;
    out[1] = v0 ^ v1 ^ v2 ^ v3;
}

/* A piece that is put together of texts, each with its length before it. */
typedef struct {
    uint8_t bytes[MAX_HASHED];
    size_t used;
    int too_long;
} Piece;

static void empty(Piece *piece) { /* and no more: an initialiser would clear its 8 KiB */
    piece->used = 0;
    piece->too_long = 0;
}

static void add_text(Piece *piece, const void *text, size_t n) {
    uint32_t length = (uint32_t)n;
    if (piece->too_long || piece->used + 4 + n > MAX_HASHED) {
        piece->too_long = 1;
        return;
    }
    memcpy(piece->bytes + piece->used, &length, 4);
    memcpy(piece->bytes + piece->used + 4, text, n);
    piece->used += 4 + n;
}

static Slot *slot_of(Slot *slots, size_t count, const uint64_t hash[2]) {
    size_t at = hash[1] >> 20 & (count - 1);
    while (slots[at].second & 0xFFFF) {
        if (slots[at].first == hash[0] && slots[at].second >> 16 == hash[1] >> 16) break;
        at = (at + 1) & (count - 1);
    }
    return slots + at;
}

static void put_inert(Inert *inert, const uint64_t hash[2], long values, double score) {
    Slot *slot = slot_of(inert->young, inert->slots, hash);
    inert->used += !(slot->second & 0xFFFF);
    slot->first = hash[0];
    slot->second = (hash[1] & ~(uint64_t)0xFFFF) | (uint64_t)(values + 1);
    slot->score = score;
    if (inert->used > inert->slots / 2) {
        Slot *oldest = inert->old;
        inert->old = inert->young;
        inert->young = oldest;
        inert->used_before = inert->used;
        inert->used = 0;
        memset(oldest, 0, sizeof(Slot) * inert->slots);
    }
}

/* Values of a piece that is in the set, -1 of another; raises `score` to the piece's. */
static long find_inert(Inert *inert, const Piece *piece, double *score) {
    uint64_t hash[2];
    if (piece->too_long) return -1;
    siphash(inert->key, piece->bytes, piece->used, hash);
    Slot *slot = slot_of(inert->young, inert->slots, hash);
    int is_young = (slot->second & 0xFFFF) != 0;
    if (!is_young) slot = slot_of(inert->old, inert->slots, hash);
    if (!(slot->second & 0xFFFF)) return -1;
    long values = (long)(slot->second & 0xFFFF) - 1;
    double its_score = slot->score;
    if (its_score > *score) *score = its_score;
    if (!is_young) put_inert(inert, hash, values, its_score);
    return values;
}

static void learn_inert(Inert *inert, const Piece *piece, long values, double score) {
    uint64_t hash[2];
    if (piece->too_long) return;
    siphash(inert->key, piece->bytes, piece->used, hash);
    put_inert(inert, hash, values, score);
}
