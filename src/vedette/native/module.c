/* A module of Python, _native: the screen and the text view (screen.h), and the first look at pairs, escapes and JSON
   (reading.h).

   The regular expressions are Python's own: regex_to_c.py compiles them into patterns.h, and the functions around them
   follow their namesakes in Python line by line. Both give the same answers, which tests hold them to; where these here
   cannot tell (a pattern nests too deep, a character that becomes two in lower case, prose that speaks of SQL) they
   answer None, and the one in Python is asked.

   A text of ASCII is read where it lies, another one from a copy of its code points. Texts of more than `LONG_TEXT`
   characters are read without the interpreter's lock, and the model runs without it over more than `LONG_RUN` bytes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

#include "python_abi.h"
#include "reader.h"

/* MAX_DEPTH: groups that repeat are nested calls, and a thread's stack may be as small as 128 KiB. */
enum { MAX_DEPTH = 200, LONG_TEXT = 16384, LONG_RUN = 1024 };
enum Place { ELSEWHERE, PATH, HEADER };

static _Thread_local int gave_up;

typedef struct {
    long (*at)[2];
    long count, room;
} Spots;

static void add_spot(Spots *spots, long start, long end) {
    if (spots->count == spots->room) {
        long room = spots->room ? 2 * spots->room : 64;
        void *more = realloc(spots->at, sizeof(*spots->at) * (size_t)room);
        if (!more) {
            gave_up = 1;
            return;
        }
        spots->at = more;
        spots->room = room;
    }
    spots->at[spots->count][0] = start;
    spots->at[spots->count++][1] = end;
}

static int by_place(const void *a, const void *b) {
    const long *one = a, *other = b;
    if (one[0] != other[0]) return one[0] < other[0] ? -1 : 1;
    return (one[1] > other[1]) - (one[1] < other[1]);
}

static void join_spots(Spots *spots, long join) {
    if (spots->count) qsort(spots->at, (size_t)spots->count, sizeof(*spots->at), by_place);
    long kept = 0;
    for (long i = 0; i < spots->count; i++) {
        long *last = kept ? spots->at[kept - 1] : NULL, *spot = spots->at[i];
        if (last && spot[0] - last[1] <= join) {
            if (spot[1] > last[1]) last[1] = spot[1];
        } else {
            spots->at[kept][0] = spot[0];
            spots->at[kept++][1] = spot[1];
        }
    }
    spots->count = kept;
}

/* UTF-8 that grows. */
typedef struct {
    char *bytes;
    size_t used, room;
} Text;

static void put(Text *to, uint32_t c) {
    if (to->used + 4 > to->room) return; /* cannot be: there is room for all */
    char *at = to->bytes + to->used;
    if (c < 0x80) {
        at[0] = (char)c, to->used += 1;
    } else if (c < 0x800) {
        at[0] = (char)(0xC0 | c >> 6), at[1] = (char)(0x80 | (c & 63)), to->used += 2;
    } else if (c < 0x10000) {
        at[0] = (char)(0xE0 | c >> 12), at[1] = (char)(0x80 | (c >> 6 & 63)), at[2] = (char)(0x80 | (c & 63));
        to->used += 3;
    } else {
        at[0] = (char)(0xF0 | c >> 18), at[1] = (char)(0x80 | (c >> 12 & 63)), at[2] = (char)(0x80 | (c >> 6 & 63));
        at[3] = (char)(0x80 | (c & 63)), to->used += 4;
    }
}

static inline int is_letter(uint32_t c) { return (c | 32) >= 'a' && (c | 32) <= 'z' && c < 128; }

static int in_ranges(const uint32_t (*ranges)[2], int count, uint32_t c) {
    int low = 0, high = count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (ranges[middle][1] < c) low = middle + 1;
        else high = middle;
    }
    return low < count && ranges[low][0] <= c;
}

#include "patterns.h"

#define CHAR uint8_t
#define N(name) name##_a
#include "screen.h"
#undef CHAR
#undef N
#define CHAR uint32_t
#define N(name) name##_w
#include "screen.h"
#undef CHAR
#undef N

#include "inert.h"
#include "reading.h"

/* A text of Python's, as bytes or as code points of its own. */
typedef struct {
    const uint8_t *ascii;
    uint32_t *wide;
    long n;
    PyThreadState *unlocked;
} Read;

static int open_text(PyObject *object, Read *read, int may_unlock) {
    gave_up = 0;
    read->n = (long)PyUnicode_GetLength(object);
    if (read->n < 0) return 0; /* no string: the error is set */
    Py_ssize_t bytes = 0;
    const char *utf8 = PyUnicode_AsUTF8AndSize(object, &bytes);
    read->wide = NULL;
    read->ascii = (const uint8_t *)utf8;
    if (!utf8 || bytes != read->n) {
        if (!utf8) PyErr_Clear(); /* lone surrogates */
        read->ascii = NULL;
        read->wide = PyUnicode_AsUCS4Copy(object);
        if (!read->wide) return 0;
    }
    read->unlocked = may_unlock && read->n > LONG_TEXT ? PyEval_SaveThread() : NULL;
    return 1;
}

static void close_text(Read *read) {
    if (read->unlocked) PyEval_RestoreThread(read->unlocked);
    if (read->wide) PyMem_Free(read->wide);
}

static PyObject *answer(int truth) {
    return gave_up ? py_none() : py_bool(truth);
}

static int wrong_count(Py_ssize_t given, Py_ssize_t wanted) {
    if (given == wanted) return 0;
    PyErr_SetString(*(void **)&PyExc_TypeError, "wrong number of arguments");
    return 1;
}

static PyObject *is_inert(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Read read;
    (void)self;
    if (wrong_count(count, 3)) return NULL;
    long place = PyLong_AsLong(args[1]);
    int whole = args[2] == &_Py_TrueStruct;
    if (!open_text(args[0], &read, 1)) return NULL;
    int inert = read.ascii ? is_inert_a(read.ascii, read.n, (enum Place)place, whole)
                           : is_inert_w(read.wide, read.n, (enum Place)place, whole);
    close_text(&read);
    return answer(inert);
}

static PyObject *is_inert_name(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Read read;
    (void)self;
    if (wrong_count(count, 2)) return NULL;
    int is_cookie = args[1] == &_Py_TrueStruct;
    if (!open_text(args[0], &read, 1)) return NULL;
    int inert = read.ascii ? is_inert_name_a(read.ascii, read.n, is_cookie) : is_inert_name_w(read.wide, read.n, is_cookie);
    close_text(&read);
    return answer(inert);
}

static PyObject *is_loaded(PyObject *self, PyObject *text) {
    Read read;
    (void)self;
    if (!open_text(text, &read, 1)) return NULL;
    int loaded = read.ascii ? is_loaded_a(read.ascii, read.n) : is_loaded_w(read.wide, read.n);
    close_text(&read);
    return answer(loaded);
}

static PyObject *hot_spots(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Read read;
    Spots spots = {NULL, 0, 0};
    (void)self;
    if (wrong_count(count, 2)) return NULL;
    long join = PyLong_AsLong(args[1]);
    if (!open_text(args[0], &read, 1)) return NULL;
    if (read.ascii) hot_spots_a(read.ascii, read.n, join, &spots);
    else hot_spots_w(read.wide, read.n, join, &spots);
    close_text(&read);
    PyObject *list = gave_up ? py_none() : PyList_New(spots.count);
    for (long i = 0; list && !gave_up && i < spots.count; i++) {
        PyObject *pair = PyTuple_New(2);
        if (!pair) {
            Py_DecRef(list);
            list = NULL;
            break;
        }
        PyTuple_SetItem(pair, 0, PyLong_FromSsize_t(spots.at[i][0]));
        PyTuple_SetItem(pair, 1, PyLong_FromSsize_t(spots.at[i][1]));
        PyList_SetItem(list, i, pair);
    }
    free(spots.at);
    return list;
}

static PyObject *view(PyObject *self, PyObject *text) {
    Read read;
    (void)self;
    if (!open_text(text, &read, 0)) return NULL;
    if (!read.ascii) { /* lower case as Python has it, which may change the length */
        close_text(&read);
        PyObject *low = PyObject_CallMethod(text, "lower", NULL);
        if (!low) return NULL;
        long n = read.n;
        int opened = open_text(low, &read, 1);
        if (opened && read.n != n) gave_up = 1;
        Text to = {NULL, 0, 4 * (size_t)read.n + 16};
        if (opened && !gave_up && (to.bytes = malloc(to.room))) {
            if (read.ascii) view_a(read.ascii, read.n, &to);
            else view_w(read.wide, read.n, &to);
        }
        if (opened) close_text(&read);
        Py_DecRef(low);
        if (!opened) return NULL;
        PyObject *found = gave_up || !to.bytes ? py_none() : PyUnicode_DecodeUTF8(to.bytes, (Py_ssize_t)to.used, NULL);
        free(to.bytes);
        if (!found) { /* surrogates */
            PyErr_Clear();
            found = py_none();
        }
        return found;
    }
    int changed = 0;
    Text to = {NULL, 0, 4 * (size_t)read.n + 16};
    uint8_t here[1024], *low = read.n <= 1024 ? here : malloc((size_t)read.n);
    char there[4096], *bytes = to.room <= 4096 ? there : malloc(to.room);
    to.bytes = bytes;
    PyObject *found = NULL;
    if (low && bytes) {
        for (long i = 0; i < read.n; i++) {
            low[i] = low_a(read.ascii[i]);
            changed |= low[i] != read.ascii[i];
        }
        view_a(low, read.n, &to);
        if (gave_up) found = py_none();
        else if (!changed && to.used == (size_t)read.n && !memcmp(to.bytes, read.ascii, to.used)) found = py_new_ref(text);
        else found = PyUnicode_DecodeUTF8(to.bytes, (Py_ssize_t)to.used, NULL);
    } else {
        found = PyErr_NoMemory();
    }
    if (low != here) free(low);
    if (bytes != there) free(bytes);
    close_text(&read);
    return found;
}

/* -- pieces that hold nothing -- */

static const char INERT[] = "vedette.inert";

static void free_inert(PyObject *capsule) {
    free_memory(PyCapsule_GetPointer(capsule, INERT));
}

/* inert_memory(bytes) -> an empty set of at most so many bytes */
static PyObject *inert_memory(PyObject *self, PyObject *bytes) {
    (void)self;
    long room = PyLong_AsLong(bytes);
    size_t slots = 64;
    while (4 * slots * sizeof(Slot) <= (size_t)(room > 0 ? room : 0)) slots *= 2;
    Inert *inert = calloc(1, sizeof(Inert));
    if (inert) {
        inert->slots = slots;
        inert->young = new_slots(slots);
        inert->old = new_slots(slots);
    }
    if (!inert || !inert->young || !inert->old || getentropy(inert->key, sizeof(inert->key))) {
        free_memory(inert);
        return PyErr_NoMemory();
    }
    return PyCapsule_New(inert, INERT, free_inert);
}

static int add_string(Piece *piece, PyObject *text) {
    Py_ssize_t n = 0;
    const char *s = PyUnicode_AsUTF8AndSize(text, &n);
    if (!s) {
        PyErr_Clear();
        piece->too_long = 1;
        return 0;
    }
    add_text(piece, s, (size_t)n);
    return 1;
}

/* The texts of args[1 .. count - 1]. */
static void piece_of(Piece *piece, PyObject *const *args, Py_ssize_t count) {
    empty(piece);
    for (Py_ssize_t i = 1; i < count && !piece->too_long; i++) add_string(piece, args[i]);
}

static void piece_of_pairs(Piece *piece, PyObject *pairs) {
    empty(piece);
    Py_ssize_t count = PyList_Size(pairs);
    if (count < 0) PyErr_Clear();
    if (count <= 0) piece->too_long = 1;
    for (Py_ssize_t i = 0; i < count && !piece->too_long; i++) {
        PyObject *pair = PyList_GetItem(pairs, i);
        PyObject *name = pair ? PyTuple_GetItem(pair, 0) : NULL, *value = name ? PyTuple_GetItem(pair, 1) : NULL;
        if (!value) {
            PyErr_Clear();
            piece->too_long = 1;
            return;
        }
        add_string(piece, name);
        add_string(piece, value);
    }
}

/* What is told of a piece that need not be read: (values, score); None of another. */
static PyObject *values_and_score(long values, double score) {
    PyObject *both = values < 0 ? py_none() : PyTuple_New(2);
    if (values < 0 || !both) return both;
    PyTuple_SetItem(both, 0, PyLong_FromSsize_t(values));
    PyTuple_SetItem(both, 1, PyFloat_FromDouble(score));
    return both;
}

/* inert(memory, location, name, raw) -> (values, score) of a piece that need not be read, else None */
static PyObject *inert(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Piece piece;
    (void)self;
    if (wrong_count(count, 4)) return NULL;
    Inert *memory = PyCapsule_GetPointer(args[0], INERT);
    if (!memory) return NULL;
    piece_of(&piece, args, count);
    double score = 0.0;
    long values = find_inert(memory, &piece, &score);
    if (values < 0 && !piece.too_long) {
        Py_ssize_t name_length = 0, n = 0;
        const char *place = PyUnicode_AsUTF8AndSize(args[1], NULL);
        const char *name = PyUnicode_AsUTF8AndSize(args[2], &name_length), *raw = PyUnicode_AsUTF8AndSize(args[3], &n);
        values = values_of_plain(place, (const uint8_t *)name, (long)name_length, (const uint8_t *)raw, (long)n);
        if (values >= 0) learn_inert(memory, &piece, values, 0.0);
    }
    return values_and_score(values, score);
}

static PyObject *inert_group(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Piece piece;
    (void)self;
    if (wrong_count(count, 2)) return NULL;
    Inert *memory = PyCapsule_GetPointer(args[0], INERT);
    if (!memory) return NULL;
    piece_of_pairs(&piece, args[1]);
    double score = 0.0;
    long values = find_inert(memory, &piece, &score);
    return values_and_score(values, score);
}

static PyObject *remembered(Inert *memory, const Piece *piece, PyObject *values, PyObject *score) {
    long count = PyLong_AsLong(values);
    if (piece->too_long || count < 0 || count > MAX_VALUES) return py_bool(0);
    learn_inert(memory, piece, count, PyFloat_AsDouble(score));
    return py_bool(1);
}

/* remember_inert(memory, location, name, raw, values, score) -> whether it is remembered from now on */
static PyObject *remember_inert(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Piece piece;
    (void)self;
    if (wrong_count(count, 6)) return NULL;
    Inert *memory = PyCapsule_GetPointer(args[0], INERT);
    if (!memory) return NULL;
    piece_of(&piece, args, count - 2);
    return remembered(memory, &piece, args[4], args[5]);
}

static PyObject *remember_inert_group(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Piece piece;
    (void)self;
    if (wrong_count(count, 4)) return NULL;
    Inert *memory = PyCapsule_GetPointer(args[0], INERT);
    if (!memory) return NULL;
    piece_of_pairs(&piece, args[1]);
    return remembered(memory, &piece, args[2], args[3]);
}

/* Values of headers of which none has to be read, and their highest score; else -1. */
static long values_of_headers(Inert *memory, PyObject *pairs, double *score) {
    Py_ssize_t count = PyList_Size(pairs);
    long sum = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = PyList_GetItem(pairs, i), *name = PyTuple_GetItem(pair, 0), *value = PyTuple_GetItem(pair, 1);
        Py_ssize_t n = 0, m = 0;
        const uint8_t *s = (const uint8_t *)PyUnicode_AsUTF8AndSize(name, &n);
        const uint8_t *v = s ? (const uint8_t *)PyUnicode_AsUTF8AndSize(value, &m) : NULL;
        if (!v) {
            PyErr_Clear();
            return -1;
        }
        Piece piece;
        empty(&piece);
        add_text(&piece, "header", 6);
        add_text(&piece, s, (size_t)n);
        add_text(&piece, v, (size_t)m);
        long values = find_inert(memory, &piece, score);
        if (values < 0) values = values_of_plain("header", s, (long)n, v, (long)m);
        if (values < 0) return -1;
        sum += values;
    }
    return sum;
}

/* headers(memory, pairs) -> ((values, score) of those that usually come together if none has to be read, else None; these;
 * the others) */
static PyObject *headers(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Piece piece;
    empty(&piece);
    (void)self;
    if (wrong_count(count, 2)) return NULL;
    Inert *memory = PyCapsule_GetPointer(args[0], INERT);
    Py_ssize_t pairs = memory ? PyTuple_Size(args[1]) : -1;
    PyObject *answer = pairs < 0 ? NULL : PyTuple_New(3), *steady = PyList_New(0), *varying = PyList_New(0);
    if (!answer || !steady || !varying) return NULL;
    long steady_ones = 0;
    for (Py_ssize_t i = 0; i < pairs; i++) {
        PyObject *pair = PyTuple_GetItem(args[1], i);
        PyObject *name = pair ? PyTuple_GetItem(pair, 0) : NULL;
        Py_ssize_t n = 0;
        const char *s = name ? PyUnicode_AsUTF8AndSize(name, &n) : NULL;
        if (!s) { /* bytes that are no UTF-8: read one by one */
            PyErr_Clear();
            piece.too_long = 1;
            steady_ones++;
            PyList_Append(steady, pair);
            continue;
        }
        uint8_t low[LONGEST_WORD + 1];
        for (Py_ssize_t k = 0; k < n && k <= LONGEST_WORD; k++) low[k] = low_a((uint8_t)s[k]);
        int varies = n <= LONGEST_WORD && (flags_of_word_a(low, (long)n) & WORD_VARYING) != 0;
        if (!varies) {
            steady_ones++;
            add_string(&piece, name);
            add_string(&piece, PyTuple_GetItem(pair, 1));
        }
        PyList_Append(varies ? varying : steady, pair);
    }
    double score = 0.0;
    long values = steady_ones ? find_inert(memory, &piece, &score) : 0;
    if (values < 0 && !piece.too_long && (values = values_of_headers(memory, steady, &score)) >= 0)
        learn_inert(memory, &piece, values, score);
    PyTuple_SetItem(answer, 0, values_and_score(values, score));
    PyTuple_SetItem(answer, 1, steady);
    PyTuple_SetItem(answer, 2, varying);
    return answer;
}

static int is_token(const uint8_t *s, Py_ssize_t n) { /* RFC 9110 section 5.6.2 */
    if (n < 1 || n > 256) return 0;
    for (Py_ssize_t i = 0; i < n; i++)
        if (!is_letter(s[i]) && !(s[i] >= '0' && s[i] <= '9') && (!s[i] || !strchr("!#$%&'*+-.^_`|~", s[i]))) return 0;
    return 1;
}

/* weight(pairs) -> (characters, or bytes where they are more; semicolons) of the values */
static PyObject *weight(PyObject *self, PyObject *pairs) {
    (void)self;
    Py_ssize_t count = PyTuple_Size(pairs), bytes = 0, semicolons = 0;
    if (count < 0) return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t n = 0;
        PyObject *value = PyTuple_GetItem(PyTuple_GetItem(pairs, i), 1);
        const char *s = value ? PyUnicode_AsUTF8AndSize(value, &n) : NULL;
        if (!s) { /* surrogates */
            PyErr_Clear();
            if (!value || (n = PyUnicode_GetLength(value)) < 0) return NULL;
            semicolons += n;
        }
        bytes += n;
        for (Py_ssize_t k = 0; s && k < n; k++) semicolons += s[k] == ';';
    }
    PyObject *both = PyTuple_New(2);
    if (!both) return NULL;
    PyTuple_SetItem(both, 0, PyLong_FromSsize_t(bytes));
    PyTuple_SetItem(both, 1, PyLong_FromSsize_t(semicolons));
    return both;
}

/* valid_headers(pairs) -> the pairs as a tuple if all are what `validate_headers` takes, and tuples already, else None */
static PyObject *valid_headers(PyObject *self, PyObject *pairs) {
    (void)self;
    Py_ssize_t count = PyList_Size(pairs);
    if (count < 0) {
        PyErr_Clear();
        return py_none();
    }
    PyObject *checked = PyTuple_New(count);
    for (Py_ssize_t i = 0; checked && i < count; i++) {
        PyObject *pair = PyList_GetItem(pairs, i);
        Py_ssize_t n = 0, m = 0;
        const char *name = NULL, *value = NULL;
        if (PyTuple_Size(pair) == 2 && (name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(pair, 0), &n)))
            value = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(pair, 1), &m);
        if (!value || !is_token((const uint8_t *)name, n) || memchr(value, '\r', (size_t)m) ||
            memchr(value, '\n', (size_t)m) || memchr(value, 0, (size_t)m)) {
            PyErr_Clear();
            Py_DecRef(checked);
            return py_none();
        }
        PyTuple_SetItem(checked, i, py_new_ref(pair));
    }
    return checked;
}

static PyObject *inert_count(PyObject *self, PyObject *capsule) {
    (void)self;
    Inert *memory = PyCapsule_GetPointer(capsule, INERT);
    return memory ? PyLong_FromSsize_t((Py_ssize_t)(memory->used + memory->used_before)) : NULL;
}

/* pieces(text, separator, most, memory, location) -> (passed over, their highest score, [piece, ...]), or None */
static PyObject *pieces(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Py_ssize_t bytes = 0;
    (void)self;
    if (wrong_count(count, 5)) return NULL;
    const char *text = PyUnicode_AsUTF8AndSize(args[0], &bytes), *sign = PyUnicode_AsUTF8AndSize(args[1], NULL);
    Py_ssize_t place_length = 0;
    const char *place = sign ? PyUnicode_AsUTF8AndSize(args[4], &place_length) : NULL;
    Inert *memory = place && args[3] != &_Py_NoneStruct ? PyCapsule_GetPointer(args[3], INERT) : NULL;
    if (!place || (!memory && args[3] != &_Py_NoneStruct)) return NULL;
    if (!text || bytes != PyUnicode_GetLength(args[0])) {
        PyErr_Clear();
        return py_none();
    }
    Spots rest = {NULL, 0, 0};
    long passed = 0;
    gave_up = 0;
    long most = PyLong_AsLong(args[2]);
    int read = read_pieces((const uint8_t *)text, (long)bytes, (uint8_t)*sign, most, &rest, &passed);
    if (gave_up) read = 0;
    long kept = 0;
    double score = 0.0;
    for (long i = 0; memory && read && i < rest.count; i++) {
        const char *s = text + rest.at[i][0];
        long n = rest.at[i][1] - rest.at[i][0];
        const char *equals = *sign == '&' ? memchr(s, '=', (size_t)n) : s; /* cookies are known without their name */
        Piece piece;
        empty(&piece);
        add_text(&piece, place, (size_t)place_length);
        add_text(&piece, s, (size_t)(equals ? equals - s : n));
        add_text(&piece, s, (size_t)n);
        long values = find_inert(memory, &piece, &score);
        if (values < 0 && (values = values_of_plain(place, NULL, 0, (const uint8_t *)s, n)) >= 0)
            learn_inert(memory, &piece, values, 0.0);
        if (values >= 0) {
            passed += values;
        } else {
            rest.at[kept][0] = rest.at[i][0];
            rest.at[kept++][1] = rest.at[i][1];
        }
    }
    if (memory) rest.count = kept;
    read = read && passed + rest.count <= most;
    PyObject *found = read && !gave_up ? PyTuple_New(3) : py_none();
    if (read && !gave_up && found) {
        PyObject *list = PyList_New(rest.count);
        for (long i = 0; list && i < rest.count; i++)
            PyList_SetItem(list, i, PyUnicode_FromStringAndSize(text + rest.at[i][0], rest.at[i][1] - rest.at[i][0]));
        PyTuple_SetItem(found, 0, PyLong_FromSsize_t(passed));
        PyTuple_SetItem(found, 1, PyFloat_FromDouble(score));
        PyTuple_SetItem(found, 2, list);
    }
    free(rest.at);
    return found;
}

static PyObject *is_plain_pair(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Py_ssize_t n = 0, m = 0;
    (void)self;
    if (wrong_count(count, 2)) return NULL;
    const uint8_t *name = (const uint8_t *)PyUnicode_AsUTF8AndSize(args[0], &n);
    const uint8_t *value = name ? (const uint8_t *)PyUnicode_AsUTF8AndSize(args[1], &m) : NULL;
    if (!value) {
        PyErr_Clear();
        return py_none();
    }
    for (long i = 0; i < n; i++) if (name[i] >= 128) return py_none();
    for (long i = 0; i < m && i < 48; i++) if (value[i] >= 128) return py_bool(0);
    gave_up = 0;
    if (n > 64 || m > 48 || !PATTERN_MATCHES(plain_word, value, (long)m) || !is_plain_name(name, (long)n)) return answer(0);
    if (is_packed(name, (long)n)) return py_none();
    return answer(1);
}

static PyObject *may_be_base64_text(PyObject *self, PyObject *text) {
    Py_ssize_t n = 0;
    (void)self;
    const uint8_t *s = (const uint8_t *)PyUnicode_AsUTF8AndSize(text, &n);
    if (!s) {
        PyErr_Clear();
        return py_bool(0);
    }
    return py_bool(may_be_base64(s, (long)n));
}

static PyObject *percent(PyObject *self, PyObject *text) {
    Py_ssize_t n = 0;
    (void)self;
    const uint8_t *s = (const uint8_t *)PyUnicode_AsUTF8AndSize(text, &n);
    if (!s || n != PyUnicode_GetLength(text)) {
        PyErr_Clear();
        return py_none();
    }
    uint8_t here[2048], *to = n <= 2048 ? here : malloc((size_t)n);
    if (!to) return PyErr_NoMemory();
    long used = undo_percent(s, (long)n, to);
    PyObject *found = used < 0 ? py_none() : used == n ? py_new_ref(text) : PyUnicode_DecodeUTF8((char *)to, used, NULL);
    if (to != here) free(to);
    return found;
}

/* decode(text) -> (what is left of it, how many layers of percent-encoding were undone); None for what only the twin
   decodes */
static PyObject *decode(PyObject *self, PyObject *text) {
    Py_ssize_t n = 0;
    (void)self;
    const uint8_t *s = (const uint8_t *)PyUnicode_AsUTF8AndSize(text, &n), *to = NULL;
    if (!s) {
        PyErr_Clear();
        return py_none();
    }
    uint8_t here[4096], *once = n <= 2048 ? here : malloc(2 * (size_t)n);
    if (!once) return PyErr_NoMemory();
    int layers = 0;
    long length = undo_layers(s, (long)n, once, once + n, &to, &layers);
    PyObject *found = length < 0 || settled_points(to, length, NULL) < 0 ? py_none() : PyTuple_New(2);
    if (found && found != &_Py_NoneStruct) {
        PyTuple_SetItem(found, 0, layers ? PyUnicode_DecodeUTF8((const char *)to, length, NULL) : py_new_ref(text));
        PyTuple_SetItem(found, 1, PyLong_FromSsize_t(layers));
    }
    if (once != here) free(once);
    return found;
}

static PyObject *string_of(const Json *json, const Node *node) {
    const uint8_t *s = json->s + node->start;
    long n = node->end - node->start;
    if (!node->escaped) return PyUnicode_DecodeUTF8((const char *)s, n, NULL);
    char *to = malloc((size_t)n + 8);
    if (!to) return PyErr_NoMemory();
    PyObject *text = PyUnicode_DecodeUTF8(to, undo_json(s, n, to), "surrogatepass");
    free(to);
    return text;
}

/* Appends (name, None) for each name of an object that has to be looked at, then goes through what is in it. */
typedef struct {
    const Json *json;
    PyObject *found;
    long passed, strings;
    double score; /* highest of those that are passed over */
    Inert *memory; /* of leaves, where they are known by themselves */
    const char *place;
    long place_length;
    Piece piece; /* of the leaf at hand, and its text where that was escaped; here, as the calls nest */
    char plain[MAX_HASHED + 8];
} Leaves;

static int append(Leaves *leaves, PyObject *path, PyObject *text) {
    PyObject *pair = path && text ? PyTuple_New(2) : NULL;
    if (!pair) {
        if (path) Py_DecRef(path);
        if (text) Py_DecRef(text);
        return 0;
    }
    PyTuple_SetItem(pair, 0, path);
    PyTuple_SetItem(pair, 1, text);
    int failed = PyList_Append(leaves->found, pair);
    Py_DecRef(pair);
    return failed == 0;
}

static int is_operator(const uint8_t *s, long n) { /* values._OPERATORS, in capitals or not */
    uint8_t low[LONGEST_WORD];
    if (n < 2 || n > LONGEST_WORD || s[0] != '$') return 0;
    for (long i = 1; i < n; i++) low[i - 1] = low_a(s[i]);
    return (flags_of_word_a(low, n - 1) & WORD_OPERATOR) != 0;
}

static int may_be_graphql(const Json *json, const Node *value) { /* bodies._GRAPHQL begins so */
    const uint8_t *s = json->s + value->start, *end = json->s + value->end;
    if (value->kind != STRING || value->escaped || !value->ascii) return value->kind == STRING;
    while (s < end && is_space(*s)) s++;
    return s < end && strchr("{qmsf", *s) != NULL;
}

static int walk(Leaves *leaves, int32_t index, const char *path, long length, int depth);

static int leaf(Leaves *leaves, int32_t index, const char *path, long length, int depth) {
    const Node *node = leaves->json->nodes + index;
    if (node->kind == STRING) {
        const uint8_t *s = leaves->json->s + node->start;
        long n = node->end - node->start;
        if (!n) return 1;
        if (node->ascii && !node->escaped) {
            if (is_json_number(s, n)) return 1;
            leaves->strings++;
            if (n <= 48 && PATTERN_MATCHES(plain_word, s, n)) {
                leaves->passed++;
                return 1;
            }
        } else {
            leaves->strings++;
        }
        if (leaves->memory && n < MAX_HASHED) {
            if (node->escaped) n = undo_json(s, n, leaves->plain), s = (const uint8_t *)leaves->plain;
            Piece *piece = &leaves->piece;
            empty(piece);
            add_text(piece, leaves->place, (size_t)leaves->place_length);
            add_text(piece, path, (size_t)length);
            add_text(piece, s, (size_t)n);
            long values = find_inert(leaves->memory, piece, &leaves->score);
            if (values < 0 && (values = values_of_plain("json", NULL, 0, s, n)) >= 0)
                learn_inert(leaves->memory, piece, values, 0.0);
            if (values >= 0) {
                leaves->passed += values;
                return 1;
            }
        }
        return append(leaves, PyUnicode_FromStringAndSize(path, length), string_of(leaves->json, node));
    }
    if (node->kind == ARRAY || node->kind == OBJECT)
        return node->next == index + 1 || walk(leaves, index, path, length, depth);
    return 1;
}

static int walk(Leaves *leaves, int32_t index, const char *path, long length, int depth) {
    const Node *nodes = leaves->json->nodes, *node = nodes + index;
    char child[2 * MAX_PATH + 32];
    if (length > MAX_PATH) path += length - MAX_PATH, length = MAX_PATH;
    memcpy(child, path, (size_t)length);
    if (node->kind == ARRAY) {
        long number = 0;
        for (int32_t at = index + 1; at < node->next; at = nodes[at].next, number++) {
            int kind = nodes[at].kind;
            if (kind != STRING && kind != ARRAY && kind != OBJECT) continue;
            long more = snprintf(child + length, 32, "[%ld]", number);
            if (!leaf(leaves, at, child, length + more, depth + 1)) return 0;
        }
        return 1;
    }
    for (int32_t at = index + 1; at < node->next; at = nodes[at + 1].next) {
        const Node *name = nodes + at;
        const uint8_t *s = leaves->json->s + name->start;
        long n = name->end - name->start;
        /* Names that only the twin reads: of other letters, MongoDB's operators, prototypes, GraphQL. */
        if (!name->ascii || name->escaped || is_operator(s, n) || (n == 9 && !memcmp(s, "prototype", 9)) ||
            (depth <= (nodes[0].kind == ARRAY) && n == 5 && !memcmp(s, "query", 5) && may_be_graphql(leaves->json, name + 1))) {
            gave_up = 1;
            return 0;
        }
        if ((n > 128 || !needs_no_look(s, n)) && !append(leaves, string_of(leaves->json, name), py_none())) return 0;
    }
    if (length) child[length++] = '.';
    for (int32_t at = index + 1; at < node->next; at = nodes[at + 1].next) {
        const Node *name = nodes + at;
        long n = name->end - name->start;
        if (n > MAX_PATH) n = MAX_PATH;
        memcpy(child + length, leaves->json->s + name->start, (size_t)n);
        if (!leaf(leaves, at + 1, child, length + n, depth + 1)) return 0;
    }
    return 1;
}

/* json(text, path, deepest, memory, location, most strings) -> (strings, passed over, their highest score,
   [(path, text) or (name, None), ...]), or None */
static PyObject *json(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Py_ssize_t n = 0, length = 0;
    (void)self;
    if (wrong_count(count, 6)) return NULL;
    Py_ssize_t place_length = 0;
    const char *place = PyUnicode_AsUTF8AndSize(args[4], &place_length);
    Inert *memory = place && args[3] != &_Py_NoneStruct ? PyCapsule_GetPointer(args[3], INERT) : NULL;
    if (!place || (!memory && args[3] != &_Py_NoneStruct)) return NULL;
    const char *text = PyUnicode_AsUTF8AndSize(args[0], &n);
    const char *path = text ? PyUnicode_AsUTF8AndSize(args[1], &length) : NULL;
    if (!path || n > INT32_MAX - 1 || length != PyUnicode_GetLength(args[1])) {
        PyErr_Clear();
        return py_none();
    }
    gave_up = 0;
    long most = PyLong_AsLong(args[2]);
    Json json = {(const uint8_t *)text, (int32_t)n, 0, NULL, 0, 0, most < MAX_JSON_DEPTH ? (int)most : MAX_JSON_DEPTH,
                 0, PyLong_AsLong(args[5])};
    PyThreadState *unlocked = n > LONG_TEXT ? PyEval_SaveThread() : NULL;
    int whole = read_any(&json, 0);
    if (whole) skip_blanks(&json);
    if (unlocked) PyEval_RestoreThread(unlocked);
    PyObject *answer = NULL;
    if (!whole || json.at < json.n || json.nodes[0].kind < ARRAY) {
        answer = py_none();
    } else {
        Leaves leaves;
        leaves.json = &json, leaves.found = PyList_New(0), leaves.passed = leaves.strings = 0, leaves.score = 0.0;
        leaves.memory = memory, leaves.place = place, leaves.place_length = (long)place_length;
        int done = leaves.found && leaf(&leaves, 0, path, (long)length, 0);
        if (gave_up) {
            PyErr_Clear();
            answer = py_none();
        } else if (done && (answer = PyTuple_New(4))) {
            PyTuple_SetItem(answer, 0, PyLong_FromSsize_t(leaves.strings));
            PyTuple_SetItem(answer, 1, PyLong_FromSsize_t(leaves.passed));
            PyTuple_SetItem(answer, 2, PyFloat_FromDouble(leaves.score));
            PyTuple_SetItem(answer, 3, py_new_ref(leaves.found));
        }
        if (leaves.found) Py_DecRef(leaves.found);
    }
    free(json.nodes);
    return answer;
}

/* (score, class, row, evidence or None); evidence is None below the threshold. */
static PyObject *answer_of(const Answer *answer) {
    if (answer->class_index < 0) return py_none();
    PyObject *evidence = answer->evidence ? PyList_New(answer->tokens) : py_none(), *all = PyTuple_New(4);
    if (!evidence || !all) return NULL;
    for (int i = 0; answer->evidence && i < answer->tokens; i++)
        PyList_SetItem(evidence, i, PyFloat_FromDouble((double)answer->evidence[i]));
    PyTuple_SetItem(all, 0, PyFloat_FromDouble(answer->score));
    PyTuple_SetItem(all, 1, PyLong_FromSsize_t(answer->class_index));
    PyTuple_SetItem(all, 2, PyLong_FromSsize_t(answer->row));
    PyTuple_SetItem(all, 3, evidence);
    return all;
}

/* Lists of views and of their contexts -> views, contexts from `context` on; returns how many bytes. */
static Py_ssize_t take_views(PyObject *texts, PyObject *contexts, Py_ssize_t count, View *views, int32_t *context) {
    Py_ssize_t bytes = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size = 0;
        PyObject *ids = PyList_GetItem(contexts, i);
        const char *text = PyUnicode_AsUTF8AndSize(PyList_GetItem(texts, i), &size);
        if (!text || size > INT32_MAX / 2) PyErr_Clear(), text = "", size = -1; /* surrogates: for the library */
        views[i] = (View){(const uint8_t *)text, context, (int32_t)size, (int32_t)PyList_Size(ids)};
        for (int32_t k = 0; k < views[i].contexts; k++) *context++ = (int32_t)PyLong_AsLong(PyList_GetItem(ids, k));
        bytes += size;
    }
    return bytes;
}

/* read(model, vocabulary, (centre, scale, threshold), [view, ...], [[context token, ...], ...]) -> [answer, ...], or the
   number of what failed. An answer is None for a view that only the library can encode. */
static PyObject *read_views(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    (void)self;
    if (wrong_count(given, 5)) return NULL;
    Py_ssize_t count = PyList_Size(args[3]), words = 0;
    if (count < 0 || wrong_count(PyList_Size(args[4]), count) || wrong_count(PyTuple_Size(args[2]), 3)) return NULL;
    Scoring scoring = {PyFloat_AsDouble(PyTuple_GetItem(args[2], 0)), PyFloat_AsDouble(PyTuple_GetItem(args[2], 1)),
                       PyFloat_AsDouble(PyTuple_GetItem(args[2], 2))};
    for (Py_ssize_t i = 0; i < count; i++) words += PyList_Size(PyList_GetItem(args[4], i));
    View *views = calloc((size_t)(count + 1), sizeof *views);
    Answer *answers = calloc((size_t)(count + 1), sizeof *answers);
    int32_t *context = calloc((size_t)(words + 1), sizeof *context);
    int failure = views && answers && context ? READ : NO_MEMORY;
    if (failure == READ) {
        int is_long = take_views(args[3], args[4], count, views, context) > LONG_RUN;
        PyThreadState *unlocked = is_long ? PyEval_SaveThread() : NULL;
        failure = vedette_read(PyLong_AsVoidPtr(args[0]), PyLong_AsVoidPtr(args[1]), &scoring, views, (int32_t)count, answers);
        if (unlocked) PyEval_RestoreThread(unlocked);
    }
    PyObject *list = failure == READ ? PyList_New(count) : PyLong_FromSsize_t(failure);
    for (Py_ssize_t i = 0; list && failure == READ && i < count; i++) PyList_SetItem(list, i, answer_of(answers + i));
    for (Py_ssize_t i = 0; answers && i < count; i++) free(answers[i].evidence);
    free(views);
    free(answers);
    free(context);
    return list;
}

/* The checksums of the rules that patterns.h was made of. */
static PyObject *rules(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    long count = (long)(sizeof(RULES) / sizeof(RULES[0]));
    PyObject *list = PyList_New(count);
    for (long i = 0; list && i < count; i++) PyList_SetItem(list, i, PyLong_FromSsize_t((Py_ssize_t)RULES[i]));
    return list;
}

static PyMethodDef METHODS[] = {
    {"rules", rules, METH_NOARGS, NULL},
    {"inert_memory", inert_memory, METH_O, NULL},
    {"inert", (PyCFunction)(void (*)(void))inert, METH_FASTCALL, NULL},
    {"inert_group", (PyCFunction)(void (*)(void))inert_group, METH_FASTCALL, NULL},
    {"remember_inert", (PyCFunction)(void (*)(void))remember_inert, METH_FASTCALL, NULL},
    {"remember_inert_group", (PyCFunction)(void (*)(void))remember_inert_group, METH_FASTCALL, NULL},
    {"inert_count", inert_count, METH_O, NULL},
    {"weight", weight, METH_O, NULL},
    {"valid_headers", valid_headers, METH_O, NULL},
    {"headers", (PyCFunction)(void (*)(void))headers, METH_FASTCALL, NULL},
    {"pieces", (PyCFunction)(void (*)(void))pieces, METH_FASTCALL, NULL},
    {"is_plain_pair", (PyCFunction)(void (*)(void))is_plain_pair, METH_FASTCALL, NULL},
    {"percent", percent, METH_O, NULL},
    {"decode", decode, METH_O, NULL},
    {"may_be_base64", may_be_base64_text, METH_O, NULL},
    {"json", (PyCFunction)(void (*)(void))json, METH_FASTCALL, NULL},
    {"is_inert", (PyCFunction)(void (*)(void))is_inert, METH_FASTCALL, NULL},
    {"is_inert_name", (PyCFunction)(void (*)(void))is_inert_name, METH_FASTCALL, NULL},
    {"is_loaded", is_loaded, METH_O, NULL},
    {"hot_spots", (PyCFunction)(void (*)(void))hot_spots, METH_FASTCALL, NULL},
    {"view", view, METH_O, NULL},
    {"read", (PyCFunction)(void (*)(void))read_views, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef MODULE = {{1, NULL, NULL, 0, NULL}, "_native", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyObject *PyInit__native(void) { return PyModule_Create2(&MODULE, PYTHON_API_VERSION); }
