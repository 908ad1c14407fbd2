/* Reading for parsing/: what plain pieces need no look, and JSON without building it. On ASCII and UTF-8 bytes; each
 * function does what its namesake in parsing/ does, and answers None where that has to be asked. */

#define PATTERN_MATCHES(pattern, s, n) pattern##_matches_here(s, n)
#define DECLARE(pattern) \
    static inline int pattern##_matches_here(const uint8_t *s, long n) { \
        ctx_a c; \
        on_a(&c, s, n); \
        long end = pattern##_at_a(&c, 0); \
        if (c.too_deep) gave_up = 1; \
        return end >= 0; \
    }
DECLARE(plain_name) DECLARE(plain_word) DECLARE(packed) DECLARE(name_of_form)
#undef DECLARE

static int finds_open(const uint8_t *s, long n) {
    ctx_a c;
    on_a(&c, s, n);
    return open_find_a(&c, 0) >= 0;
}

static int finds_cut(const uint8_t *s, long n) {
    ctx_a c;
    on_a(&c, s, n);
    return cut_find_a(&c, 0) >= 0;
}

static int is_plain_name(const uint8_t *s, long n) {
    ctx_a c;
    if (!PATTERN_MATCHES(plain_name, s, n)) return 0;
    on_a(&c, s, n);
    return name_danger_find_a(&c, 0) < 0;
}

static int may_be_base64(const uint8_t *s, long n);

static int is_packed(const uint8_t *s, long n) { /* a name or a segment that has to be unpacked: values._packed_text */
    return n >= 12 && PATTERN_MATCHES(packed, s, n) && may_be_base64(s, n);
}

/* A plain name that is not base64 of something either; of that the twin decides. */
static int needs_no_look(const uint8_t *s, long n) {
    return is_plain_name(s, n) && !is_packed(s, n);
}

/* -- base64 ----------------------------------------------------------------------------------------------------- */

enum { SHORTEST_PACKED = 12, LONGEST_PACKED = 2048 }; /* values._MIN_BASE64; a longer text is left to the twin */

static inline int base64_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static int is_utf8(const uint8_t *s, long n) { /* as Python has it: no overlong forms, no surrogates */
    for (long i = 0; i < n;) {
        uint8_t c = s[i++];
        if (c < 0x80) continue;
        int more = c >= 0xC2 && c <= 0xDF ? 1 : c >= 0xE0 && c <= 0xEF ? 2 : c >= 0xF0 && c <= 0xF4 ? 3 : 0;
        if (!more) return 0;
        for (int k = 0; k < more; k++, i++) {
            int least = k ? 0x80 : c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
            int largest = k ? 0xBF : c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
            if (i >= n || s[i] < least || s[i] > largest) return 0;
        }
    }
    return 1;
}

/* Whether a text could be base64 of readable text; what it is then, decoders.base64_text tells. Most that have its shape
 * are identifiers, and their bytes are no UTF-8. */
static int may_be_base64(const uint8_t *s, long n) {
    uint8_t bytes[LONGEST_PACKED];
    long count = 0, zeros = 0, used = 0;
    uint32_t bits = 0;
    if (n > LONGEST_PACKED) return 1;
    for (long i = 0; n > 76 && i < n; i++) /* of a longer text, the twin removes line breaks */
        if (s[i] >= 128 || is_space(s[i])) return 1;
    for (long i = 0; i < n; i++) {
        int value = base64_value(s[i]);
        if (value < 0) {
            long left = n - i; /* only "=" or "==" may follow */
            if (s[i] != '=' || left > 2 || (left == 2 && s[i + 1] != '=')) return 0;
            break;
        }
        bits = bits << 6 | (uint32_t)value;
        if (++count % 4 != 1) {
            int shift = count % 4 == 2 ? 4 : count % 4 == 3 ? 2 : 0;
            bytes[used] = (uint8_t)(bits >> shift);
            zeros += !bytes[used++];
        }
    }
    if (n < SHORTEST_PACKED || count < SHORTEST_PACKED - 2 || count % 4 == 1) return 0;
    return zeros * 5 > used * 2 || is_utf8(bytes, used);
}

/* A space of ASCII: a byte beyond may be the end of any character. */
static inline int is_blank(uint8_t c) { return c < 128 && is_space(c); }

/* -- pairs ------------------------------------------------------------------------------------------------------ */

/* Pieces of `a=1&b=2` or `a=1; b=2`: ranges of those that have to be read, and how many need not. Returns 0 where
 * pieces may belong together (see forms.read_pairs) or are more than `most`. */
static int read_pieces(const uint8_t *s, long n, uint8_t sign, long most, Spots *rest, long *passed) {
    long count = 0;
    const uint8_t *before = NULL; /* the piece before this one, None where that was empty */
    long before_length = 0;
    *passed = 0;
    for (long start = 0; start <= n;) {
        const uint8_t *piece = s + start;
        const uint8_t *found = memchr(piece, sign, (size_t)(n - start));
        long length = found ? (long)(found - piece) : n - start;
        const uint8_t *equals = memchr(piece, '=', (size_t)length);
        const uint8_t *name = piece;
        long name_length = equals ? (long)(equals - piece) : length;
        if (++count > most) return 0;
        if (sign == ';') {
            while (name_length && is_blank(*name)) name++, name_length--;
            while (name_length && is_blank(name[name_length - 1])) name_length--;
        } else {
            if (before && (equals ? finds_cut(name, name_length)
                                  : !PATTERN_MATCHES(name_of_form, piece, length) || finds_open(before, before_length)))
                return 0;
            before = length ? piece : NULL;
            before_length = length;
        }
        int plain = equals && name_length <= 64 &&
                    PATTERN_MATCHES(plain_word, equals + 1, length - (long)(equals - piece) - 1) &&
                    needs_no_look(name, name_length);
        if (plain) ++*passed;
        else if (length || sign == ';') add_spot(rest, start, start + length);
        start += length + 1;
    }
    return 1;
}

/* -- percent-encoding ------------------------------------------------------------------------------------------- */

static inline int hex_value(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline int escape_at(const uint8_t *s, long n, long i) {
    if (i + 2 >= n || s[i] != '%') return -1;
    int high = hex_value(s[i + 1]), low = hex_value(s[i + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* One layer of percent-encoding undone, of ASCII into UTF-8. Returns -1 for what only the twin knows: %uXXXX, and bytes
 * that are no UTF-8. Each run of escapes has to be whole, as the twin reads run by run. */
static long undo_percent(const uint8_t *s, long n, uint8_t *to) {
    long used = 0;
    for (long i = 0; i < n;) {
        if (s[i] != '%') {
            to[used++] = s[i++];
            continue;
        }
        if (i + 1 < n && (s[i + 1] | 32) == 'u') return -1;
        int byte = escape_at(s, n, i);
        if (byte < 0) {
            to[used++] = s[i++];
            continue;
        }
        i += 3;
        to[used++] = (uint8_t)byte;
        if (byte < 0x80) continue;
        int more = byte >= 0xC2 && byte <= 0xDF ? 1 : byte >= 0xE0 && byte <= 0xEF ? 2 : byte >= 0xF0 && byte <= 0xF4 ? 3 : 0;
        if (!more) return -1;
        for (int k = 0; k < more; k++, i += 3) {
            int next = escape_at(s, n, i);
            int least = k ? 0x80 : byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
            int largest = k ? 0xBF : byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
            if (next < least || next > largest) return -1;
            to[used++] = (uint8_t)next;
        }
    }
    return used;
}

/* -- values that hold nothing ------------------------------------------------------------------------------------ */

/* WHOLE: http_tokenizer.WHOLE. LONGEST_AT_ONCE: bytes of a value as it was sent. MOST_LAYERS: LAYERS of
 * parsing/native_reading.py. */
enum { WHOLE = 160, LONGEST_AT_ONCE = 1440, MOST_LAYERS = 2 };

/* Characters that no decoder touches: no compatibility form of theirs holds ASCII (a test goes through all). */
static inline int is_settled(uint32_t c) {
    static const uint32_t SETTLED[][2] = {
        {0xA9, 0xA9},     {0xAB, 0xAE},     {0xB0, 0xB1},     {0xB5, 0xB7},     {0xBB, 0xBB},     {0xBF, 0x131},
        {0x134, 0x13E},   {0x141, 0x148},   {0x14A, 0x17E},   {0x386, 0x3CE},   {0x400, 0x52F},   {0x591, 0x5F4},
        {0x610, 0x674},   {0x679, 0x6FF},   {0x904, 0x957},   {0xE01, 0xE32},   {0xE34, 0xE3A},   {0xE40, 0xE4E},
        {0x1EA0, 0x1EF9}, {0x200E, 0x200F}, {0x2013, 0x2014}, {0x2018, 0x201E}, {0x2020, 0x2022}, {0x20AA, 0x20AC},
        {0x2190, 0x21FF}, {0x25A0, 0x27BF}, {0x3001, 0x3002}, {0x3041, 0x3096}, {0x30A1, 0x30FE}, {0x4E00, 0x9FFF},
        {0xAC00, 0xD7A3}, {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF},
    };
    return in_ranges(SETTLED, sizeof SETTLED / sizeof *SETTLED, c);
}

/* The character that begins at `i` of UTF-8 that is valid, of which `i` is moved behind it. */
static inline uint32_t point_at(const uint8_t *s, long n, long *i) {
    uint32_t c = s[(*i)++];
    int more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    if (more) c &= 0x3Fu >> more;
    for (; more && *i < n; more--) c = c << 6 | (s[(*i)++] & 0x3F);
    return more ? 0xFFFD : c; /* torn off: no character that is settled */
}

/* UTF-8 that is valid -> code points, to nowhere where that is NULL. Returns how many, -1 for characters that a decoder
 * could touch: Latin-1 that UTF-8 was taken for among them. */
static long settled_points(const uint8_t *s, long n, uint32_t *to) {
    long count = 0;
    uint32_t before = 0;
    for (long i = 0; i < n;) {
        uint32_t c = point_at(s, n, &i);
        if (c >= 0x80 && !is_settled(c)) return -1;
        if (c >= 0x80 && c <= 0xBF && before >= 0xC2 && before <= 0xF4) return -1;
        if (to) to[count] = c;
        before = c, count++;
    }
    return count;
}

/* Whether a reference to a character may begin at the ampersand at `i`: "&#..." or "&name;". */
static int is_reference(const uint8_t *s, long n, long i) {
    long end = i + 1;
    if (end < n && s[end] == '#') return 1;
    while (end < n && end - i <= 32 && (is_letter(s[end]) || (s[end] >= '0' && s[end] <= '9'))) end++;
    return end > i + 2 && end < n && s[end] == ';';
}

/* Whether a decoder could act on a text once more. */
static int is_encoded(const uint8_t *s, long n) {
    for (long i = 0; i < n; i++) {
        uint8_t c = s[i];
        if (c == '\\' && i + 1 < n && ((s[i + 1] | 32) == 'u' || s[i + 1] == 'x' || (s[i + 1] >= '0' && s[i + 1] <= '7')))
            return 1;
        if (c == '%' && (escape_at(s, n, i) >= 0 || (i + 1 < n && (s[i + 1] | 32) == 'u'))) return 1;
        if (c == '&' && is_reference(s, n, i)) return 1;
        if (c == '+' && i + 1 < n && s[i + 1] == 'A') return 1;
    }
    return 0;
}

static int begins_with(const uint8_t *s, long n, const char *low) {
    for (; *low; s++, n--, low++)
        if (n < 1 || low_a(*s) != (uint8_t)*low) return 0;
    return 1;
}

/* Whether a decoded text could hold a document, be base64 or a token: what only the twin unwraps. */
static int may_hold_more(const uint8_t *s, long n) {
    if (n > 2 && ((s[0] == '{' && s[n - 1] == '}') || (s[0] == '[' && s[n - 1] == ']'))) return 1;
    if (n < SHORTEST_PACKED) return 0;
    return may_be_base64(s, n) || begins_with(s, n, "basic ") || begins_with(s, n, "bearer") ||
           begins_with(s, n, "eyj") || index_a(s, n, "base64,") >= 0;
}

/* Text as it was sent, in UTF-8 that is valid -> what percent-encoding leaves of it, in `once` or `twice`, both of room
 * for n bytes; returns how many bytes, `layers` how often it was undone. -1 for what only the twin decodes. */
static long undo_layers(const uint8_t *s, long n, uint8_t *once, uint8_t *twice, const uint8_t **to, int *layers) {
    *layers = 0;
    *to = s;
    while (*layers < MOST_LAYERS && memchr(s, '%', (size_t)n)) {
        for (long i = 0; i < n; i++) if (s[i] >= 128) return is_encoded(s, n) ? -1 : n;
        uint8_t *next = *layers % 2 ? twice : once;
        long length = undo_percent(s, n, next);
        if (length < 0) return -1;
        if (length == n) break;
        *to = s = next, n = length, ++*layers;
    }
    return is_encoded(s, n) ? -1 : n;
}

/* Whether nothing has to be read of a value as it was sent: unwrapped, it is one text that the screen passes. */
static int holds_nothing(const uint8_t *s, long n, int plus, enum Place place) {
    uint8_t sent[LONGEST_AT_ONCE], once[LONGEST_AT_ONCE], twice[LONGEST_AT_ONCE];
    uint32_t points[LONGEST_AT_ONCE];
    const uint8_t *text;
    int is_ascii = 1, layers;
    if (n > LONGEST_AT_ONCE) return 0;
    for (long i = 0; i < n; i++) sent[i] = plus && s[i] == '+' ? ' ' : s[i];
    long length = undo_layers(sent, n, once, twice, &text, &layers);
    if (length < 0 || may_hold_more(text, length)) return 0;
    for (long i = 0; is_ascii && i < length; i++) is_ascii = text[i] < 128;
    int before = gave_up, inert = 0;
    gave_up = 0;
    if (is_ascii) {
        inert = is_inert_a(text, length, place, length <= WHOLE);
    } else {
        long count = settled_points(text, length, points);
        inert = count >= 0 && is_inert_w(points, count, place, count <= WHOLE);
    }
    inert = inert && !gave_up; /* what only the twin knows is read; that says nothing of other pieces */
    gave_up = before;
    return inert;
}

static int is_name_of_cookie(const uint8_t *s, long n) {
    return of_cookie_matches_a(s, n) && !is_packed(s, n);
}

/* Whether the part of a path before its parameters could be base64, as values.read_path looks at it. */
static int may_be_packed(const uint8_t *s, long n) {
    uint8_t once[LONGEST_AT_ONCE], twice[LONGEST_AT_ONCE];
    const uint8_t *text;
    int layers;
    long stop = 0;
    while (stop < n && s[stop] != ';' && s[stop] != '#') stop++;
    if (stop > LONGEST_AT_ONCE) return 1;
    long length = undo_layers(s, stop, once, twice, &text, &layers);
    return length < 0 || is_packed(text, length);
}

static int is_path_plain(const uint8_t *s, long n) {
    if (n && s[0] != '/') return 0;
    if (!holds_nothing(s, n, 0, PATH)) return 0;
    if (n <= SHORTEST_PACKED) return 1;
    for (long start = 1; start < n;) { /* base64 in a segment */
        long end = start;
        while (end < n && s[end] != '/') end++;
        if (end - start >= SHORTEST_PACKED && may_be_packed(s + start, end - start)) return 0;
        start = end + 1;
    }
    return !may_be_packed(s + 1, n - 1);
}

/* Values of a piece as it was sent, as the readers in forms.py, pipeline.py and values.py take it apart, if none of them
 * has to be read; else -1. */
static long values_of_plain(const char *place, const uint8_t *name, long name_length, const uint8_t *s, long n) {
    if (!strcmp(place, "query") || !strcmp(place, "form")) {
        const uint8_t *equals = memchr(s, '=', (size_t)n);
        long length = equals ? (long)(equals - s) : n;
        if (length > 128 || !needs_no_look(s, length)) return -1;
        if (!equals || equals + 1 == s + n) return 0;
        return holds_nothing(equals + 1, n - length - 1, 1, ELSEWHERE) ? 1 : -1;
    }
    if (!strcmp(place, "cookie")) {
        while (n && is_blank(*s)) s++, n--;
        while (n && is_blank(s[n - 1])) n--;
        const uint8_t *equals = memchr(s, '=', (size_t)n), *value = equals ? equals + 1 : s;
        long length = equals ? (long)(equals - s) : 0, left = n - (long)(value - s);
        int is_odd = length <= 128 && !is_plain_name(s, length); /* then the name is a field */
        if (length > 128 || !(is_odd ? is_name_of_cookie(s, length) : needs_no_look(s, length))) return -1;
        if (left > 1 && value[0] == '"' && value[left - 1] == '"') value++, left -= 2;
        return !left ? is_odd : holds_nothing(value, left, 0, ELSEWHERE) ? 1 + is_odd : -1;
    }
    if (!strcmp(place, "path")) return !n ? 0 : is_path_plain(s, n) ? 1 : -1;
    int is_header = !strcmp(place, "header");
    if (is_header) {
        for (long i = 0; i < name_length; i++) if (name[i] >= 128) return -1;
        if (name_length > 128 || !needs_no_look(name, name_length)) return -1;
    }
    return !n ? 0 : holds_nothing(s, n, 0, is_header ? HEADER : ELSEWHERE) ? 1 : -1; /* else a leaf of JSON */
}

/* -- JSON ------------------------------------------------------------------------------------------------------- */

enum { MAX_JSON_DEPTH = 128, MAX_PATH = 128 }; /* values._MAX_PATH */
enum { STRING, NUMBER, CONSTANT, ARRAY, OBJECT };

/* A value, or a name of an object (its value follows it). Ranges leave out the quotes. */
typedef struct {
    uint8_t kind, escaped, ascii;
    int32_t start, end; /* bytes */
    int32_t next;       /* node behind this one and all that is in it */
} Node;

typedef struct {
    const uint8_t *s;
    int32_t n, at;
    Node *nodes;
    int32_t count, room;
    int deepest;
    long strings, most; /* that are values, and how many of them there may be */
} Json;

static int32_t add_node(Json *json, int kind) {
    if (json->count == json->room) {
        int32_t room = json->room ? 2 * json->room : 256;
        Node *more = realloc(json->nodes, sizeof(Node) * (size_t)room);
        if (!more) return -1;
        json->nodes = more;
        json->room = room;
    }
    json->nodes[json->count] = (Node){(uint8_t)kind, 0, 1, json->at, 0, 0};
    return json->count++;
}

static void skip_blanks(Json *json) {
    while (json->at < json->n) {
        uint8_t c = json->s[json->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
        json->at++;
    }
}

static int read_string(Json *json) { /* at the opening quote */
    int32_t node = add_node(json, STRING), at = json->at + 1;
    if (node < 0) return 0;
    int escaped = 0;
    uint8_t high = 0;
    while (at < json->n && json->s[at] != '"') {
        high |= json->s[at];
        if (json->s[at] == '\\') {
            escaped = 1;
            if (at + 1 >= json->n || !strchr("\"\\/bfnrtu", json->s[at + 1] ? json->s[at + 1] : '?')) return 0;
            if (json->s[at + 1] == 'u') {
                if (at + 5 >= json->n) return 0;
                for (int k = 2; k < 6; k++)
                    if (hex_value(json->s[at + k]) < 0) return 0;
                at += 4;
            }
            at++;
        }
        at++;
    }
    if (at >= json->n) return 0;
    json->nodes[node].start = json->at + 1;
    json->nodes[node].end = at;
    json->nodes[node].escaped = (uint8_t)escaped;
    json->nodes[node].ascii = high < 0x80;
    json->nodes[node].next = json->count;
    json->at = at + 1;
    return 1;
}

static int read_number(Json *json) {
    int32_t node = add_node(json, NUMBER), at = json->at;
    const uint8_t *s = json->s;
#define DIGIT_AT(i) ((i) < json->n && s[i] >= '0' && s[i] <= '9')
    if (node < 0) return 0;
    if (s[at] == '-') at++;
    if (!DIGIT_AT(at)) return 0; /* -Infinity: the twin's */
    if (s[at] == '0') at++;
    else while (DIGIT_AT(at)) at++;
    if (at < json->n && s[at] == '.' && DIGIT_AT(at + 1)) {
        at++;
        while (DIGIT_AT(at)) at++;
    }
    if (at < json->n && (s[at] | 32) == 'e') {
        int32_t digits = at + 1 + (at + 1 < json->n && (s[at + 1] == '+' || s[at + 1] == '-'));
        if (DIGIT_AT(digits)) {
            at = digits;
            while (DIGIT_AT(at)) at++;
        }
    }
#undef DIGIT_AT
    json->nodes[node].end = at;
    json->nodes[node].next = json->count;
    json->at = at;
    return 1;
}

static int read_any(Json *json, int depth) {
    skip_blanks(json);
    if (json->at >= json->n) return 0;
    uint8_t c = json->s[json->at];
    if (c == '"') return ++json->strings <= json->most && read_string(json);
    if (c == '{' || c == '[') {
        int is_object = c == '{';
        if (depth >= json->deepest) return 0;
        uint8_t close = is_object ? '}' : ']';
        int32_t node = add_node(json, is_object ? OBJECT : ARRAY);
        if (node < 0) return 0;
        json->at++;
        skip_blanks(json);
        if (json->at < json->n && json->s[json->at] == close) {
            json->at++;
        } else {
            for (;;) {
                if (is_object) {
                    skip_blanks(json);
                    if (json->at >= json->n || json->s[json->at] != '"' || !read_string(json)) return 0;
                    skip_blanks(json);
                    if (json->at >= json->n || json->s[json->at++] != ':') return 0;
                }
                if (!read_any(json, depth + 1)) return 0;
                skip_blanks(json);
                if (json->at >= json->n) return 0;
                uint8_t sign = json->s[json->at++];
                if (sign == close) break;
                if (sign != ',') return 0;
            }
        }
        json->nodes[node].end = json->at;
        json->nodes[node].next = json->count;
        return 1;
    }
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(json);
    static const char *const CONSTANTS[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        int32_t length = (int32_t)strlen(CONSTANTS[i]);
        if (json->n - json->at >= length && !memcmp(json->s + json->at, CONSTANTS[i], (size_t)length)) {
            int32_t node = add_node(json, CONSTANT);
            if (node < 0) return 0;
            json->at += length;
            json->nodes[node].next = json->count;
            return 1;
        }
    }
    return 0;
}

static int is_json_number(const uint8_t *s, long n) { /* values._is_number */
    if (n > 32) return 0;
    if (n && s[0] == '-') s++, n--;
    long digits = 0, points = 0;
    for (long i = 0; i < n; i++) {
        if (s[i] == '.' && !points) points = 1;
        else if (s[i] >= '0' && s[i] <= '9') digits++;
        else return 0;
    }
    return digits > 0;
}

/* UTF-8 of a string of JSON, its escapes undone; lone surrogates as three bytes. */
static long undo_json(const uint8_t *s, long n, char *to) {
    Text text = {to, 0, (size_t)(n + 8)};
    for (long i = 0; i < n;) {
        if (s[i] != '\\') {
            text.bytes[text.used++] = (char)s[i++];
            continue;
        }
        uint8_t c = s[i + 1];
        if (c != 'u') {
            static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
            text.bytes[text.used++] = TO[strchr(FROM, c) - FROM];
            i += 2;
            continue;
        }
        uint32_t code = 0;
        for (int k = 2; k < 6; k++) code = code << 4 | (uint32_t)hex_value(s[i + k]);
        i += 6;
        if (code >= 0xD800 && code < 0xDC00 && i + 5 < n && s[i] == '\\' && s[i + 1] == 'u') {
            uint32_t low = 0;
            for (int k = 2; k < 6; k++) low = low << 4 | (uint32_t)hex_value(s[i + k]);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                i += 6;
            }
        }
        put(&text, code);
    }
    return (long)text.used;
}
