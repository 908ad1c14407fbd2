/* The screen over texts of one width of characters; screen.c includes this once for bytes (ASCII) and once for code
 * points. Each function does what its namesake in tokenization/screen.py, screen_words.py, screen_signs.py or
 * text_view.py does; `gave_up` is set where only those know. */

typedef struct {
    const CHAR *s;
    long n;
    long end; /* of the match that was found */
    int depth, too_deep;
    long count[MAX_COUNTERS], last[MAX_COUNTERS];
    long g[2 * MAX_GROUPS];
} N(ctx);

static inline long N(ok)(N(ctx) *c, long p) {
    (void)c;
    return p;
}

#include "patterns.h"

static inline void N(on)(N(ctx) *c, const CHAR *s, long n) {
    c->s = s;
    c->n = n;
    c->depth = c->too_deep = 0;
}

/* Whether a pattern matches at the beginning of, or is found in, a text. */
#define MATCHES(pattern, s, n) N(pattern##_matches)(s, n)
#define FINDS(pattern, s, n) N(pattern##_finds)(s, n)
#define DECLARE(pattern) \
    static inline int N(pattern##_matches)(const CHAR *s, long n) { \
        N(ctx) c; \
        N(on)(&c, s, n); \
        long end = N(pattern##_at)(&c, 0); \
        if (c.too_deep) gave_up = 1; \
        return end >= 0; \
    } \
    static inline int N(pattern##_finds)(const CHAR *s, long n) { \
        N(ctx) c; \
        N(on)(&c, s, n); \
        long start = N(pattern##_find)(&c, 0); \
        if (c.too_deep) gave_up = 1; \
        return start >= 0; \
    }
DECLARE(word) DECLARE(neutral) DECLARE(company) DECLARE(path_company) DECLARE(dots) DECLARE(colon) DECLARE(wide)
DECLARE(loaded_dots) DECLARE(serialised) DECLARE(path) DECLARE(second_host) DECLARE(command) DECLARE(included)
DECLARE(action) DECLARE(name) DECLARE(dangerous_name) DECLARE(breaks_out) DECLARE(attribute) DECLARE(json_head)
DECLARE(quoted) DECLARE(never_calm) DECLARE(declarations) DECLARE(inside_host) DECLARE(address) DECLARE(weak_0)
DECLARE(weak_1) DECLARE(announces) DECLARE(of_client) DECLARE(word_by_word) DECLARE(of_cookie)
#undef DECLARE

static inline int N(has)(const CHAR *s, long n, char sign) {
    for (long i = 0; i < n; i++) if (s[i] == (CHAR)sign) return 1;
    return 0;
}

static long N(index)(const CHAR *s, long n, const char *text) {
    long length = (long)strlen(text);
    for (long i = 0; i + length <= n; i++) {
        long k = 0;
        while (k < length && s[i + k] == (CHAR)(uint8_t)text[k]) k++;
        if (k == length) return i;
    }
    return -1;
}
#define CONTAINS(s, n, text) (N(index)(s, n, text) >= 0)

static int N(contains_any)(const CHAR *s, long n, const char *const *texts, int count) {
    for (int i = 0; i < count; i++) if (CONTAINS(s, n, texts[i])) return 1;
    return 0;
}

static int N(begins_with_any)(const CHAR *s, long n, const char *const *texts, int count) {
    for (int i = 0; i < count; i++) {
        long length = (long)strlen(texts[i]), k = 0;
        while (k < length && k < n && s[k] == (CHAR)texts[i][k]) k++;
        if (k == length) return 1;
    }
    return 0;
}

static long N(without_end)(const CHAR *s, long n) { /* str.rstrip of a text that ends with two spaces */
    if (n < 2 || s[n - 1] != ' ' || s[n - 2] != ' ') return n;
    while (n > 0 && is_space(s[n - 1])) n--;
    return n;
}

static inline CHAR N(low)(CHAR c) {
    if (c < 128) return (CHAR)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return (CHAR)lower_wide(c);
}

/* Lower case into `to`, which has room; gives up where a character becomes two. */
static void N(lower)(const CHAR *s, long n, CHAR *to) {
    for (long i = 0; i < n; i++) {
        if (s[i] >= 128 && lowers_to_many(s[i])) gave_up = 1;
        to[i] = N(low)(s[i]);
    }
}

/* Sets of words that a lower-case text holds: any of `flags`. */
static unsigned N(flags_of_word)(const CHAR *s, long n) {
    if (n > LONGEST_WORD) return 0;
    uint32_t hash = 2166136261u;
    for (long i = 0; i < n; i++) hash = (hash ^ (uint8_t)s[i]) * 16777619u;
    for (uint32_t at = hash % WORD_SLOTS; words[at].length; at = (at + 1) % WORD_SLOTS) {
        if (words[at].length != n) continue;
        long k = 0;
        while (k < n && (CHAR)words[at].word[k] == s[k]) k++;
        if (k == n) return words[at].flags;
    }
    return 0;
}

static inline long N(next_word)(const CHAR *s, long n, long *at) { /* start of the next run of a-z; *at is its end */
    long p = *at;
    while (p < n && !(s[p] >= 'a' && s[p] <= 'z')) p++;
    long start = p;
    while (p < n && s[p] >= 'a' && s[p] <= 'z') p++;
    *at = p;
    return start;
}

static int N(has_word_of)(const CHAR *low, long n, unsigned flag) {
    for (long at = 0;;) {
        long start = N(next_word)(low, n, &at);
        if (at == start) return 0;
        if (N(flags_of_word)(low + start, at - start) & flag) return 1;
    }
}

static int N(has_address)(const CHAR *s, long n) {
    long dots = 0;
    for (long i = 0; i < n; i++) dots += s[i] == '.';
    return dots > 2 && FINDS(address, s, n);
}

static int N(has_words_in)(const CHAR *s, const CHAR *low, long n) {
    const CHAR *common = NULL;
    long common_length = 0;
    int weak = 0;
    for (long at = 0;;) {
        long start = N(next_word)(low, n, &at);
        if (at == start) break;
        unsigned flags = N(flags_of_word)(low + start, at - start);
        if (flags & WORD_STRONG) {
            if (!(flags & WORD_COMMON)) return 1;
            if (common && (common_length != at - start || memcmp(common, low + start, sizeof(CHAR) * common_length)))
                return 1;
            common = low + start, common_length = at - start;
        }
        weak |= (flags & WORD_WEAK) != 0;
    }
    if (weak && (FINDS(weak_0, low, n) || FINDS(weak_1, low, n))) return 1;
    return N(has_address)(s, n);
}

/* Room for a text: on the stack where it is short. */
#define WITH_COPY(copy, n) \
    CHAR copy##_here[512]; \
    CHAR *copy = (n) <= 512 ? copy##_here : malloc(sizeof(CHAR) * (size_t)(n)); \
    if (!copy) return gave_up = 1
#define FREE_COPY(copy) do { if (copy != copy##_here) free(copy); } while (0)

static int N(has_words)(const CHAR *s, long n) {
    WITH_COPY(low, n);
    N(lower)(s, n, low);
    int found = N(has_words_in)(s, low, n);
    FREE_COPY(low);
    return found;
}

static int N(is_ascii)(const CHAR *s, long n) {
    if (sizeof(CHAR) == 1) return 1;
    for (long i = 0; i < n; i++) if (s[i] >= 128) return 0;
    return 1;
}

static int N(has_mark)(const CHAR *s, long n) {
    return (CONTAINS(s, n, "..") && FINDS(dots, s, n)) || (N(has)(s, n, ':') && FINDS(colon, s, n)) ||
           (!N(is_ascii)(s, n) && FINDS(wide, s, n));
}

static int N(has_sign)(const CHAR *s, long n) {
    return !MATCHES(neutral, s, n) || FINDS(company, s, n) || N(has_mark)(s, n);
}

static int N(is_serialised)(const CHAR *s, long n) {
    return n && strchr("r/YKgAHBTa82", s[0] < 128 && s[0] ? (int)s[0] : '?') && MATCHES(serialised, s, n);
}

/* At the beginning, or behind an equals sign not far from it. */
static int N(begins_serialised)(const CHAR *s, long n) {
    if (N(is_serialised)(s, n)) return 1;
    long at = 0, most = n < 64 ? n : 64;
    while (at < most && s[at] != '=') at++;
    return at < most && N(is_serialised)(s + at + 1, n - at - 1);
}

static int N(is_loaded_word)(const CHAR *s, long n) {
    static const char *const PARTS[] = {"proto", "construct", "passwd", "localhost", "classloader"};
    WITH_COPY(low, n);
    N(lower)(s, n, low);
    int loaded = N(has)(low, n, '.') && FINDS(loaded_dots, low, n);
    if (!loaded && n >= 8)
        loaded = N(contains_any)(low, n, PARTS, 5) || N(begins_with_any)(low, n, LOADED_STARTS, LOADED_STARTS_COUNT) ||
                 N(contains_any)(low, n, DUNDERS, DUNDERS_COUNT);
    FREE_COPY(low);
    return loaded;
}

static int N(is_loaded)(const CHAR *s, long n) {
    return N(begins_serialised)(s, n) || (MATCHES(word, s, n) && N(is_loaded_word)(s, n));
}

static int N(is_plain_path)(const CHAR *s, long n) {
    if (!MATCHES(path, s, n) || FINDS(path_company, s, n) || N(has_mark)(s, n)) return 0;
    WITH_COPY(low, n);
    N(lower)(s, n, low);
    int plain = !N(contains_any)(low, n, DUNDERS, DUNDERS_COUNT);
    if (plain) {
        if (N(has)(s, n, '+') || N(has)(s, n, '=') || N(has)(s, n, ':')) plain = !N(has_words_in)(s, low, n);
        else plain = !N(has_address)(s, n) && !N(has_word_of)(low, n, WORD_FILE_OF_PATH);
    }
    FREE_COPY(low);
    return plain;
}

static int N(is_plain_url)(const CHAR *s, long n) {
    N(ctx) c;
    N(on)(&c, s, n);
    for (int i = 0; i < 2 * MAX_GROUPS; i++) c.g[i] = -1;
    long matched = N(plain_url_at)(&c, 0);
    if (c.too_deep) gave_up = 1;
    if (matched < 0) return 0;
    long start = c.g[PLAIN_URL_REST - 1];
    const CHAR *rest = s + start;
    long m = n - start;
    if (FINDS(dots, rest, m) || CONTAINS(rest, m, "//") || N(has_address)(rest, m) || FINDS(second_host, rest, m) ||
        FINDS(included, rest, m) || FINDS(command, rest, m))
        return 0;
    WITH_COPY(low, n);
    N(lower)(s, n, low);
    int plain = !FINDS(inside_host, low, start);
    if (plain && (N(has)(rest, m, ' ') || N(has)(rest, m, '+'))) plain = !N(has_words_in)(rest, low + start, m);
    if (plain) {
        long mark = 0;
        while (mark < m && rest[mark] != '?') mark++;
        plain = !N(has_word_of)(low + start, mark, WORD_PLACE_OF_URL) &&
                (mark == m || !N(has_word_of)(low + start + mark + 1, m - mark - 1, WORD_PLACE)) &&
                !N(contains_any)(low + start, m, DUNDERS, DUNDERS_COUNT);
    }
    FREE_COPY(low);
    return plain;
}

static int N(is_inert)(const CHAR *s, long n, enum Place place, int whole);

static int N(is_pairs)(const CHAR *s, long n) {
    N(ctx) c;
    long at = 0;
    while (at < n && s[at] != '&' && s[at] != ';') at++;
    if (at == n) return 0;
    CHAR sign = s[at];
    N(on)(&c, s, n);
    if (N(pair_at)(&c, 0) < 0) return 0;
    for (long start = 0; start <= n;) {
        long end = start;
        while (end < n && s[end] != sign) end++;
        N(on)(&c, s + start, end - start);
        long name = N(pair_at)(&c, 0);
        if (name < 0) {
            if (end > start) return 0;
        } else {
            const CHAR *value = s + start + name;
            long length = end - start - name;
            if (FINDS(dangerous_name, s + start, name)) return 0;
            if (length && (N(has)(value, length, ' ') || N(has_sign)(value, length) || !N(is_inert)(value, length, ELSEWHERE, 1)))
                return 0;
        }
        start = end + 1;
    }
    return 1;
}

/* What cannot begin anything replaced, in place of `to`, which holds a copy of the text. Returns whether it changed. */
static int N(calm)(const CHAR *s, long n, CHAR *to) {
    N(ctx) c;
    memcpy(to, s, sizeof(CHAR) * (size_t)n);
    int changed = 0;
    CHAR *source = to;
    if (CONTAINS(s, n, "://") || CONTAINS(s, n, ":\\/")) {
        N(on)(&c, s, n);
        for (long at = 0; (at = N(host_of_url_find)(&c, at)) >= 0; at = c.end) {
            WITH_COPY(low, c.end - at);
            N(lower)(s + at, c.end - at, low);
            int inside = FINDS(inside_host, low, c.end - at);
            FREE_COPY(low);
            if (!inside)
                for (long i = at; i < c.end; i++) to[i] = 'u';
            changed |= !inside;
        }
        if (c.too_deep) gave_up = 1;
    }
    /* The pattern looks at the text as it was, so it works on a copy of its own. */
    WITH_COPY(before, n);
    memcpy(before, source, sizeof(CHAR) * (size_t)n);
    N(on)(&c, before, n);
    for (long at = 0; (at = N(calm_find)(&c, at)) >= 0; at = c.end) {
        if (before[at] == '[' && c.end - at > 2 && before[at + 1] != '[' && before[at + 1] != '{') {
            to[at] = to[c.end - 1] = ',';
        } else {
            for (long i = at; i < c.end; i++) to[i] = ',';
        }
        changed = 1;
    }
    if (c.too_deep) gave_up = 1;
    FREE_COPY(before);
    return changed;
}

static int N(is_calm)(const CHAR *s, long n) {
    if (FINDS(never_calm, s, n) || MATCHES(breaks_out, s, n) || FINDS(dangerous_name, s, n) || FINDS(attribute, s, n))
        return 0;
    if (FINDS(quoted, s, n) && !MATCHES(json_head, s, n)) return 0;
    WITH_COPY(plain, n);
    N(calm)(s, n, plain);
    int calm = memcmp(plain, s, sizeof(CHAR) * (size_t)n) != 0 && !FINDS(included, s, n) && !N(has_sign)(plain, n) &&
               !N(has_words)(plain, n);
    FREE_COPY(plain);
    return calm;
}

static int N(is_style)(const CHAR *s, long n) {
    return N(has)(s, n, ';') && MATCHES(declarations, s, n) && !FINDS(company, s, n) && !N(has_words)(s, n);
}

static int N(is_inert)(const CHAR *s, long n, enum Place place, int whole) {
    if (whole) n = N(without_end)(s, n);
    if (N(begins_serialised)(s, n)) return 0;
    if (MATCHES(word, s, n)) return !N(is_loaded_word)(s, n);
    if (place == PATH && N(is_plain_path)(s, n)) return 1;
    if (place == HEADER && whole &&
        (MATCHES(word_by_word, s, n) || (MATCHES(of_client, s, n) && !N(has_words)(s, n) && !N(has_mark)(s, n))))
        return 1;
    if (!N(has_sign)(s, n)) {
        WITH_COPY(low, n);
        N(lower)(s, n, low);
        int read = N(has_words_in)(s, low, n);
        if (read && whole && (CONTAINS(low, n, "union") || CONTAINS(low, n, "drop") || CONTAINS(low, n, "select")))
            gave_up = 1; /* is_prose */
        FREE_COPY(low);
        return !read;
    }
    return N(is_plain_url)(s, n) || (whole && (N(is_pairs)(s, n) || N(is_calm)(s, n) || N(is_style)(s, n)));
}

static int N(is_inert_name)(const CHAR *s, long n, int is_cookie) {
    if (is_cookie && MATCHES(of_cookie, s, n)) return 1;
    WITH_COPY(plain, n);
    for (long i = 0; i < n; i++) {
        int inside = s[i] == '#' && i > 0 && i + 1 < n && is_letter(s[i - 1]) && is_letter(s[i + 1]);
        plain[i] = inside ? '_' : s[i];
    }
    int inert = MATCHES(name, plain, n) && !MATCHES(action, plain, n) && !FINDS(dangerous_name, plain, n) &&
                !N(is_loaded)(plain, n) && !N(has_sign)(plain, n) && !N(has_words)(plain, n);
    FREE_COPY(plain);
    return inert;
}

/* Ranges that are not inert, those at most `join` apart as one. */
static int N(hot_spots)(const CHAR *s, long n, long join, Spots *spots) {
    n = N(without_end)(s, n);
    WITH_COPY(text, n);
    WITH_COPY(low, n);
    N(calm)(s, n, text);
    int ascii = N(is_ascii)(text, n), fold = 1;
    for (long i = 0; i < n && !ascii && fold; i++) fold = text[i] < 128 || !folds_to_many(text[i]);
    for (long i = 0; i < n; i++)
        low[i] = !fold ? text[i] : text[i] < 128 ? N(low)(text[i]) : (CHAR)fold_wide(text[i]);
    N(ctx) c;
#define ADD_ALL(pattern, where) \
    do { \
        N(on)(&c, where, n); \
        long start = -1, end = -1; \
        for (long at = 0; (at = N(pattern##_find)(&c, at)) >= 0; at = c.end) { \
            if (end >= 0 && at - end <= join) { \
                if (c.end > end) end = c.end; \
                continue; \
            } \
            if (end >= 0) add_spot(spots, start, end); \
            start = at, end = c.end; \
        } \
        if (end >= 0) add_spot(spots, start, end); \
        if (c.too_deep) gave_up = 1; \
    } while (0)
    ADD_ALL(signs, text);
    ADD_ALL(company, text);
    if (CONTAINS(text, n, "..")) ADD_ALL(dots, text);
    if (N(has)(text, n, ':')) ADD_ALL(colon, text);
    if (N(has)(text, n, '=')) ADD_ALL(attribute, text);
    if (!ascii) ADD_ALL(wide, text);
    if (CONTAINS(low, n, "proto") || CONTAINS(low, n, "construct") || CONTAINS(low, n, "classloader"))
        ADD_ALL(dangerous_part, s);
    long dots = 0;
    for (long i = 0; i < n; i++) dots += low[i] == '.';
    if (dots > 2) ADD_ALL(address, low);
    int weak = 0;
    for (long at = 0;;) {
        long start = N(next_word)(low, n, &at);
        if (at == start) break;
        unsigned flags = N(flags_of_word)(low + start, at - start);
        weak |= (flags & WORD_WEAK) != 0;
        if ((flags & WORD_STRONG) && !(flags & WORD_COMMON)) add_spot(spots, start, at);
    }
    if (weak) {
        ADD_ALL(weak_0, low);
        ADD_ALL(weak_1, low);
    }
#undef ADD_ALL
    FREE_COPY(text);
    FREE_COPY(low);
    join_spots(spots, join);
    return 0;
}

/* The text view of a lower-case text, as UTF-8 or code points by `put`. */
static void N(view)(const CHAR *s, long n, Text *to) {
    N(ctx) c;
    N(on)(&c, s, n);
    long done = 0;
    for (;;) {
        for (int i = 0; i < 2 * MAX_GROUPS; i++) c.g[i] = -1;
        long at = N(run_find)(&c, done);
        if (at < 0) break;
        for (long i = done; i < at; i++) put(to, s[i]);
        long end = c.end, length = end - at;
        const CHAR *run = s + at;
        if (c.g[RUN_BLANK] >= 0) {
            put(to, ' ');
        } else if (c.g[RUN_LINES] >= 0) {
            put(to, '\n'), put(to, '\n');
        } else if (c.g[RUN_REPEAT] >= 0) {
            for (int i = 0; i < 6; i++) put(to, run[i]);
        } else if (c.g[RUN_NUMBER] >= 0) {
            for (int i = 0; i < (length > 8 ? 6 : 5); i++) put(to, '0');
        } else {
            long head = 6, tail = 1;
            if (c.g[RUN_LIST] < 0) {
                int digits = c.g[RUN_MIXED] >= 0;
                for (long i = 0; i < length && !digits; i++) digits = run[i] >= '0' && run[i] <= '9';
                if (digits) {
                    long letters = 0, most = length < 8 ? length : 8;
                    while (letters < most && run[length - 1 - letters] >= 'a' && run[length - 1 - letters] <= 'z')
                        letters++;
                    tail = letters > 1 ? letters : 0;
                    head = MATCHES(announces, run, length) ? 6 : 0;
                } else {
                    head = 14, tail = 8;
                }
            }
            for (long i = 0; i < head && i < length; i++) put(to, run[i]);
            put(to, 0x2026);
            for (long i = length - tail; i < length; i++) put(to, run[i]);
        }
        done = end;
    }
    for (long i = done; i < n; i++) put(to, s[i]);
    if (c.too_deep) gave_up = 1;
}
