#include "log_mel.h"

enum {
    HALF = DFE_SOUND_FRAME / 2,
    QUARTER = DFE_SOUND_FRAME / 4,
    HOP = 160,
    FRAMES = 32,
    MELS = 32,
    LENGTH = DFE_SOUND_FRAME + HOP * (FRAMES - 1),
    LAST_OCTAVE = 61,
    LOUDEST = 127
};

/* Shifts of negative numbers are the compiler's affair: what is shifted is lifted above 0. */
#define WAVE_SHIFT 45
#define WAVE_LIFT ((int64_t)1 << 60)
#define WAVE_HALF ((int64_t)1 << (WAVE_SHIFT - 1))
#define SUM_SHIFT 14
#define SUM_LIFT ((int64_t)1 << 40)

/* A frame folded about its middle: cosines are alike there, sines are opposite. */
typedef struct {
    int32_t even[HALF + 1], odd[HALF + 1];
} folded;

typedef struct {
    int64_t real, imaginary;
} sum;

static int32_t sample(const int16_t *sound, int32_t length, int32_t at) {
    return at >= 0 && at < length ? sound[at] : 0;
}

static void fold(const int16_t *sound, int32_t length, int32_t start, folded *frame) {
    for (int32_t n = 1; n < HALF; n++) {
        int32_t left = sample(sound, length, start + n);
        int32_t right = sample(sound, length, start + DFE_SOUND_FRAME - n);
        frame->even[n] = left + right;
        frame->odd[n] = left - right;
    }
    frame->even[HALF] = sample(sound, length, start + HALF);
    frame->odd[HALF] = 0;
}

/* round(2^14 window cos), of 2^30 window and 2^29 cos. */
static int32_t wave(int32_t window, int32_t cosine) {
    return (int32_t)(((int64_t)window * cosine + WAVE_HALF + WAVE_LIFT) >> WAVE_SHIFT) -
           (int32_t)(WAVE_LIFT >> WAVE_SHIFT);
}

/* Bin k of the places first, first + 2, ... */
static sum half_of_bin(const int32_t *cosines, const folded *frame, int32_t k, int32_t first) {
    sum found = {0, 0};
    for (int32_t n = first; n <= HALF; n += 2) {
        int32_t window = cosines[0] - cosines[n];
        uint32_t angle = (uint32_t)(k * n), turned = angle + 3 * QUARTER;
        found.real += wave(window, cosines[angle % DFE_SOUND_FRAME]) * frame->even[n];
        found.imaginary += wave(window, cosines[turned % DFE_SOUND_FRAME]) * frame->odd[n];
    }
    return found;
}

static int64_t lowered(int64_t value) {
    return ((value + SUM_LIFT) >> SUM_SHIFT) - (SUM_LIFT >> SUM_SHIFT);
}

static void spread(const dfe_mel *mel, int64_t real, int64_t imaginary, int64_t *energies) {
    real = lowered(real);
    imaginary = lowered(imaginary);
    int64_t power = real * real + imaginary * imaginary;
    energies[mel->first] += mel->falling * power;
    energies[mel->first + 1] += mel->rising * power;
}

/* Bins k and 128 - k differ by the sign of the odd places' cosines and of the even ones' sines. */
static void measure(const dfe_log_mel *tables, const folded *frame, int64_t *energies) {
    const dfe_mel *mels = tables->mels;
    for (int32_t m = 0; m < MELS; m++) energies[m] = 0;
    for (int32_t k = 0; k <= QUARTER; k++) {
        sum odd = half_of_bin(tables->cosines, frame, k, 1);
        sum even = half_of_bin(tables->cosines, frame, k, 2);
        spread(&mels[k], even.real + odd.real, even.imaginary + odd.imaginary, energies);
        if (k < QUARTER)
            spread(&mels[HALF - k], even.real - odd.real, odd.imaginary - even.imaginary, energies);
    }
}

/* How many thresholds an energy reaches. */
static int32_t loudness(const int64_t *octave, int64_t energy) {
    if (!energy) return 0;
    int32_t whole = 0;
    while (whole < LAST_OCTAVE && energy >> (whole + 1)) whole++;
    int32_t count = whole * DFE_SOUND_STEPS;
    for (int32_t r = 0; r < DFE_SOUND_STEPS; r++)
        count += octave[r] >> (LAST_OCTAVE - whole) <= energy;
    return count;
}

static int8_t below(int32_t feature, int32_t steps) {
    return (int8_t)(steps < feature ? feature - steps : 0);
}

void dfe_log_mel_input(const dfe_log_mel *tables, const int16_t *sound, int32_t length, int8_t *x) {
    folded frame;
    int64_t energies[MELS];
    int32_t loudest = 0, done = 0;
    if (length < 0) length = 0;
    int32_t start = length > LENGTH ? (length - LENGTH + 1) / 2 : -((LENGTH - length) / 2);
    for (int32_t f = 0; f < FRAMES; f++) {
        fold(sound, length, start + f * HOP, &frame);
        measure(tables, &frame, energies);
        for (int32_t m = 0; m < MELS; m++, done++) {
            int32_t level = loudness(tables->octave, energies[m]);
            /* What came before is brought down when something louder comes: no second pass. */
            if (level > loudest) {
                for (int32_t i = 0; i < done; i++) x[i] = below(x[i], level - loudest);
                loudest = level;
            }
            x[done] = level ? below(LOUDEST, loudest - level) : 0;
        }
    }
}
