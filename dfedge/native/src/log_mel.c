#include "log_mel.h"

#include "loudness.h"

enum { HOP = 160, LOUDEST = 127, MOST_HALF = DFE_MOST_FRAME / 2 };

/* Shifts of negative numbers are the compiler's affair: what is shifted is lifted above 0. */
#define WAVE_SHIFT 45
#define WAVE_LIFT ((int64_t)1 << 60)
#define WAVE_HALF ((int64_t)1 << (WAVE_SHIFT - 1))
#define SUM_SHIFT 14
#define SUM_LIFT ((int64_t)1 << 40)

/* A frame folded about its middle: cosines are alike there, sines are opposite. */
typedef struct {
    int32_t even[MOST_HALF + 1], odd[MOST_HALF + 1];
} folded;

typedef struct {
    int64_t real, imaginary;
} sum;

static int32_t sample(const int16_t *sound, int32_t length, int32_t at) {
    return at >= 0 && at < length ? sound[at] : 0;
}

static void fold(const int16_t *sound, int32_t length, int32_t start, int32_t size,
                 folded *frame) {
    int32_t half = size / 2;
    for (int32_t n = 1; n < half; n++) {
        int32_t left = sample(sound, length, start + n);
        int32_t right = sample(sound, length, start + size - n);
        frame->even[n] = left + right;
        frame->odd[n] = left - right;
    }
    frame->even[half] = sample(sound, length, start + half);
    frame->odd[half] = 0;
}

/* round(2^14 window cos), of 2^30 window and 2^29 cos. */
static int32_t wave(int32_t window, int32_t cosine) {
    return (int32_t)(((int64_t)window * cosine + WAVE_HALF + WAVE_LIFT) >> WAVE_SHIFT) -
           (int32_t)(WAVE_LIFT >> WAVE_SHIFT);
}

/* Bin k, at most a quarter of the frame, of the places first, first + 2, ... */
static sum half_of_bin(const dfe_log_mel *tables, const folded *frame, int32_t k, int32_t first) {
    const int32_t *cosines = tables->cosines;
    int32_t size = tables->frame, angle = first * k;
    sum found = {0, 0};
    for (int32_t n = first; n <= size / 2; n += 2) {
        int32_t window = cosines[0] - cosines[n];
        found.real += wave(window, cosines[angle]) * frame->even[n];
        found.imaginary -= wave(window, cosines[angle + size / 4]) * frame->odd[n];
        angle += 2 * k;
        if (angle >= size) angle -= size;
    }
    return found;
}

static int64_t lowered(int64_t value) {
    return ((value + SUM_LIFT) >> SUM_SHIFT) - (SUM_LIFT >> SUM_SHIFT);
}

static void spread(const dfe_mel *bin, int64_t real, int64_t imaginary, int64_t *energies) {
    real = lowered(real);
    imaginary = lowered(imaginary);
    int64_t power = real * real + imaginary * imaginary;
    energies[bin->first] += bin->falling * power;
    energies[bin->first + 1] += bin->rising * power;
}

/* Bins k and N/2 - k differ by the sign of the odd places' cosines and of the even ones' sines. */
static void measure(const dfe_log_mel *tables, const folded *frame, int64_t *energies) {
    const dfe_mel *bins = tables->bins;
    int32_t half = tables->frame / 2, quarter = tables->frame / 4;
    for (int32_t m = 0; m < tables->mels; m++) energies[m] = 0;
    for (int32_t k = 0; k <= quarter; k++) {
        sum odd = half_of_bin(tables, frame, k, 1);
        sum even = half_of_bin(tables, frame, k, 2);
        spread(&bins[k], even.real + odd.real, even.imaginary + odd.imaginary, energies);
        if (k < quarter)
            spread(&bins[half - k], even.real - odd.real, odd.imaginary - even.imaginary, energies);
    }
}

static int8_t below(int32_t feature, int32_t steps) {
    return (int8_t)(steps < feature ? feature - steps : 0);
}

void dfe_log_mel_input(const dfe_log_mel *tables, const int16_t *sound, int32_t length, int8_t *x) {
    folded frame;
    int64_t energies[DFE_MOST_MELS];
    int32_t loudest = 0, done = 0;
    int32_t heard = tables->frame + HOP * (tables->frames - 1);
    if (length < 0) length = 0;
    int32_t start = length > heard ? (length - heard + 1) / 2 : -((heard - length) / 2);
    for (int32_t f = 0; f < tables->frames; f++) {
        fold(sound, length, start + f * HOP, tables->frame, &frame);
        measure(tables, &frame, energies);
        for (int32_t m = 0; m < tables->mels; m++, done++) {
            int32_t level = dfe_loudness(tables->octave, energies[m]);
            /* What came before is brought down when something louder comes: no second pass. */
            if (level > loudest) {
                for (int32_t i = 0; i < done; i++) x[i] = below(x[i], level - loudest);
                loudest = level;
            }
            x[done] = level ? below(LOUDEST, loudest - level) : 0;
        }
    }
}
