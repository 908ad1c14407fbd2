/* Byte-level byte-pair encoding, as HTTPTokenizer (tokenization/http_tokenizer.py) has its library do it: the text is
   split by the same pattern, and in each piece the pair with the lowest rank is merged, the first of equal ones first,
   until none is left. Left to the library are texts in which that could take long, and those with characters of which
   two versions of Unicode may think differently. */

#include <stddef.h>
#include <stdint.h>

#include "reader.h"

enum {
    MAX_PIECE = 512, /* bytes of a piece; merging is quadratic in them */
    UNKNOWN_PIECE = -1
};

struct Vocabulary {
    const int32_t *bytes; /* [256] ids of single bytes */
    const uint8_t *kinds; /* [65536] kind of each character below U+10000 */
    /* [mask + 1][2] pairs that merge, in an open hash table: left << 16 | right, and rank << 16 | what they merge to. */
    const uint32_t *table;
    uint32_t mask;
};

static const uint32_t EMPTY = 0xFFFFFFFFu; /* of a slot's pair; as rank and merged, of a pair that does not merge */

typedef enum { LETTER, DIGIT, SPACE, SIGN, UNKNOWN } Kind; /* as in native_bpe.py */

/* Kind of the character at `at` of UTF-8 that is known to be valid, and where the next one begins. */
static Kind kind_at(const Vocabulary *vocabulary, const uint8_t *text, int32_t at, int32_t *next) {
    uint8_t first = text[at];
    *next = at + 1;
    if (first < 0x80) return vocabulary->kinds[first];
    if (first >= 0xF0) return UNKNOWN;
    if (first < 0xE0) {
        *next = at + 2;
        return vocabulary->kinds[(first & 0x1F) << 6 | (text[at + 1] & 0x3F)];
    }
    *next = at + 3;
    return vocabulary->kinds[(first & 0x0F) << 12 | (text[at + 1] & 0x3F) << 6 | (text[at + 2] & 0x3F)];
}

/* Where the piece that begins at `at` ends, by " ?\p{L}+|[0-9]{1,3}| ?[^\s\p{L}0-9]+|\s+"; or UNKNOWN_PIECE. */
static int32_t end_of_piece(const Vocabulary *vocabulary, const uint8_t *text, int32_t at, int32_t end) {
    int32_t behind, first = at;
    Kind kind = kind_at(vocabulary, text, at, &behind);
    if (text[at] == ' ' && behind < end) {
        int32_t second;
        Kind next = kind_at(vocabulary, text, behind, &second);
        if (next == LETTER || next == SIGN) kind = next, behind = second;
    }
    while (kind != UNKNOWN && (at = behind) < end && (kind != DIGIT || at < first + 3)) {
        Kind next = kind_at(vocabulary, text, at, &behind);
        if (next == UNKNOWN) kind = UNKNOWN;
        if (next != kind) break;
    }
    return kind == UNKNOWN ? UNKNOWN_PIECE : at;
}

/* Rank << 16 | what a pair merges to. */
static uint32_t merged(const Vocabulary *vocabulary, int32_t left, int32_t right) {
    uint32_t pair = (uint32_t)left << 16 | (uint32_t)right, slot = pair * 0x9E3779B1u;
    for (slot = (slot ^ slot >> 15) & vocabulary->mask;; slot = (slot + 1) & vocabulary->mask) {
        const uint32_t *found = vocabulary->table + 2 * (size_t)slot;
        if (found[0] == pair) return found[1];
        if (found[0] == EMPTY) return EMPTY;
    }
}

/* Merges ids[0..count) in place; returns how many are left. */
static int32_t merge(const Vocabulary *vocabulary, int32_t *ids, int32_t count) {
    uint32_t pairs[MAX_PIECE];
    for (int32_t i = 0; i + 1 < count; i++) pairs[i] = merged(vocabulary, ids[i], ids[i + 1]);
    for (;;) {
        int32_t best = 0;
        for (int32_t i = 1; i + 1 < count; i++)
            if (pairs[i] >> 16 < pairs[best] >> 16) best = i;
        if (count < 2 || pairs[best] == EMPTY) return count;
        ids[best] = pairs[best] & 0xFFFF;
        count--;
        for (int32_t i = best + 1; i < count; i++) ids[i] = ids[i + 1], pairs[i - 1] = pairs[i];
        if (best > 0) pairs[best - 1] = merged(vocabulary, ids[best - 1], ids[best]);
        if (best + 1 < count) pairs[best] = merged(vocabulary, ids[best], ids[best + 1]);
    }
}

/* Texts that lie one behind the other, text i until ends[i] -> their ids, one behind the other too, and how many each
   has, -1 for one that is left to the library. There is room for an id a byte. */
void vedette_encode(const Vocabulary *vocabulary, const uint8_t *text, const int32_t *ends, int32_t texts, int32_t *ids,
                    int32_t *counts) {
    for (int32_t i = 0, at = 0; i < texts; at = ends[i++]) {
        int32_t *to = ids;
        counts[i] = 0;
        while (at < ends[i]) {
            int32_t end = end_of_piece(vocabulary, text, at, ends[i]), count = end - at;
            if (end == UNKNOWN_PIECE || count > MAX_PIECE) {
                to = ids;
                counts[i] = -1;
                break;
            }
            for (int32_t k = 0; k < count; k++) to[k] = vocabulary->bytes[text[at + k]];
            to += merge(vocabulary, to, count);
            at = end;
        }
        if (counts[i] == 0) counts[i] = (int32_t)(to - ids);
        ids = to;
    }
}
