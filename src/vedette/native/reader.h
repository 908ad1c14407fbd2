/* Texts to answers in one call: what module.c hands to vedette_read() in detector.c. */
#ifndef VEDETTE_READER_H
#define VEDETTE_READER_H

#include <stdint.h>

typedef struct Model Model;
typedef struct Vocabulary Vocabulary;

typedef struct {
    const uint8_t *bytes;   /* UTF-8 of a text view */
    const int32_t *context; /* tokens of its context */
    int32_t size, contexts; /* size: -1 for a view that only the library can encode */
} View;

/* From a margin to a score (model/scoring.py), and from which score on evidence is wanted. */
typedef struct {
    double centre, scale, threshold;
} Scoring;

/* Of the row of a text that scores highest. */
typedef struct {
    double score;
    int32_t class_index; /* of its strongest attack, -1 for a view that only the library can encode */
    int32_t row, tokens; /* tokens of text in the row */
    float *evidence;     /* [tokens], freed by the caller; NULL below the threshold */
} Answer;

enum { READ = 0, NO_MEMORY = 1, UNKNOWN_TOKEN = 2 };

int vedette_read(const Model *model, const Vocabulary *vocabulary, const Scoring *scoring, const View *views,
                 int32_t count, Answer *answers);
void vedette_encode(const Vocabulary *vocabulary, const uint8_t *text, const int32_t *ends, int32_t texts, int32_t *ids,
                    int32_t *counts);

#endif
